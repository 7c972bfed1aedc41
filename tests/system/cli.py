"""`trabajos` as people and scripts run it: in a folder of sessions of its own, in a terminal, through a browser; and servers that lie."""

import contextlib
import html
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.parse

import requests

import trabajos

PROGRAM = trabajos.BIN / "trabajos"


class Cli:
    """The command with its own sessions, at a server."""

    def __init__(self, url, folder, **environment):
        self.url, self.folder = url, folder
        self.environment = {"PATH": f"{trabajos.BIN}:/usr/bin:/bin", "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "LANG": "C.UTF-8",
                            "TRABAJOS_URL": url, **{name: os.environ[name] for name in ("ASAN_OPTIONS",) if name in os.environ},
                            **environment}

    def start(self, *arguments, **more):
        return subprocess.Popen([PROGRAM, *map(str, arguments)], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **more)

    def run(self, *arguments, text="", code=0, **environment):
        """stdout and stderr of a command that must exit so."""
        done = subprocess.run([PROGRAM, *map(str, arguments)], env={**self.environment, **environment}, input=text.encode(),
                              capture_output=True, timeout=90, check=False)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--json")[0])

    def log_in(self, name):
        self.run("login", f"--user={name}", "--password", text=name + "\n")
        return self

    def session_file(self):
        file, = (self.folder / "trabajos").glob("*.json")
        return file

    def change_session(self, **members):
        file = self.session_file()
        file.write_text(json.dumps({**json.loads(file.read_text()), **members}))


class Terminal:
    """A command in a terminal; what it draws, as it comes."""

    def __init__(self, cli, *arguments, shell=None, rows=40, columns=140):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            program = ["/bin/sh", "-c", shell] if shell else [str(PROGRAM), *map(str, arguments)]
            os.execve(program[0], program, {**cli.environment, "TERM": "xterm-256color"})
        import fcntl
        import termios
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.drawn, self.code = b"", None

    def read(self, timeout_s=60):
        """More of what is drawn; False at its end."""
        if not select.select([self.fd], [], [], timeout_s)[0]:
            raise AssertionError(f"nothing more is drawn behind {self.drawn!r}")
        try:
            more = os.read(self.fd, 65536)
        except OSError:
            more = b""
        self.drawn += more
        return bool(more)

    def await_text(self, pattern, behind=0):
        while not re.search(pattern, self.drawn[behind:]):
            assert self.read(), f"{pattern!r} is not in {self.drawn!r}"
        return re.search(pattern, self.drawn[behind:])

    def type(self, text):
        os.write(self.fd, text)

    def end(self):
        """Everything drawn, and the exit code in `code`."""
        while self.read():
            pass
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return self.drawn


class Browser:
    """Keycloak's pages: forms and cookies, which it marks Secure although this is http on localhost, as browsers accept."""

    def __init__(self):
        self.cookies = {}

    def go(self, url, method="GET", data=None):
        while True:
            page = requests.request(method, url, data=data, allow_redirects=False, timeout=20,
                                    headers={"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())})
            for cookie in page.raw.headers.getlist("Set-Cookie"):
                name, _, value = cookie.split(";")[0].partition("=")
                self.cookies[name] = value
            if not page.is_redirect:
                assert page.status_code == 200, page.text
                return page
            url, method, data = urllib.parse.urljoin(url, page.headers["Location"]), "GET", None

    def submit(self, page, button=None, **fields):
        form = re.search(r"<form.*?</form>", page.text, re.S).group(0)
        action = html.unescape(re.search(r'action="([^"]*)"', form).group(1))
        hidden = {name: html.unescape(value) for name, value in re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"', form)}
        return self.go(urllib.parse.urljoin(page.url, action), "POST", {**hidden, **fields, **({button: ""} if button else {})})

    def let_in(self, url, user, button="accept"):
        """Logs in at the page that a device has named, and says yes (accept) or no (cancel) to it."""
        return self.submit(self.submit(self.go(url), username=user, password=user), button)


class Fake:
    """A server that says what a test wants: answers[METHOD, path] is (status, headers, body) or a function of the request's body."""

    def __init__(self):
        self.answers, self.asked = {}, []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                path = self.path.split("?")[0]
                fake.asked.append((time.monotonic(), self.command, path, body, dict(self.headers)))
                answer = fake.answers.get((self.command, path), (404, {}, b"{}"))
                status, headers, content = answer(body) if callable(answer) else answer
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.answers["GET", "/.well-known/oauth-protected-resource"] = (
            200, {}, {"resource": self.url, "authorization_servers": [self.url + "/realm"]})
        self.answers["GET", "/realm/.well-known/openid-configuration"] = (200, {}, {
            "issuer": self.url + "/realm", "token_endpoint": self.url + "/token", "device_authorization_endpoint": self.url + "/device"})
        self.answers["POST", "/token"] = (200, {}, {"access_token": "a.b.c", "refresh_token": "r", "expires_in": 300})

    def count(self, path):
        return sum(1 for asked in self.asked if asked[2] == path)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Cutter:
    """A way to a server on which streams of events break after so many bytes."""

    def __init__(self, url, after):
        self.after, self.cuts = after, 0
        self.target = urllib.parse.urlsplit(url)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        with client, socket.create_connection((self.target.hostname, self.target.port)) as server, contextlib.suppress(OSError):
            passed, streams = 0, False
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(1024)
                    if not data:
                        return
                    if ready is client:
                        streams = streams or b"text/event-stream" in data
                        server.sendall(data)
                        continue
                    passed += len(data)
                    client.sendall(data)
                    if streams and passed > self.after:
                        self.cuts += 1
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return

    def close(self):
        self.listener.close()


def interrupt(process):
    process.send_signal(signal.SIGINT)

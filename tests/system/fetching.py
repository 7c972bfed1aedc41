"""bin/trabajos-fetch itself, and what it is sent to: git http-backend over HTTP or HTTPS on loopback, and servers that misbehave."""
import base64
import contextlib
import datetime
import http.server
import json
import os
import ssl
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import trabajos

PROGRAM = trabajos.BIN / "trabajos-fetch"
ADVERT = (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n"
          b"001e# service=git-upload-pack\n0000")


class Handler(http.server.BaseHTTPRequestHandler):
    """git http-backend below /git/ and /other/, and what the tests put into server.odd by path. What lies below a path of
    server.passwords is shown only to who says that name and password."""

    protocol_version = "HTTP/1.1"

    def refused(self):
        wanted = next((secret for path, secret in self.server.passwords.items() if self.path.startswith(path)), None)
        return wanted and self.headers.get("Authorization") != "Basic " + base64.b64encode(wanted.encode()).decode()

    def answer(self):
        odd = next((act for path, act in self.server.odd.items() if self.path.startswith(path)), None)
        self.server.requests.append(self.path)
        self.server.shown.append(self.headers.get("Authorization"))
        if odd:
            self.close_connection = True
            odd(self)
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.refused():
            self.send_response_only(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.say(*self.backend(path, query, body))

    def backend(self, path, query, body):
        """What git http-backend answers: status, headers, content."""
        environment = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1",
                       "PATH_INFO": path[path.index("/", 1):], "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                       "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                       "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        done = subprocess.run(["git", "http-backend"], input=body, stdout=subprocess.PIPE, env=environment, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        return int(headers.pop("Status", "200").split()[0]), headers, content

    def say(self, code, headers, content):
        self.send_response_only(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def certificate(folder, host="localhost", days=1):
    """A self-signed certificate of a server, and its key: (ca.pem, both.pem). days: until it ends, from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.utcnow()
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256()))
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    ca, both = folder / "ca.pem", folder / "both.pem"
    ca.write_bytes(public)
    both.write_bytes(public + private)
    return ca, both


class Server:
    """A git server of the test's own."""

    def __init__(self, root, tls=None):
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.root, self.http.odd, self.http.requests, self.http.shown, self.http.passwords = root, {}, [], [], {}
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        host = f"https://localhost:{self.http.server_port}" if tls else f"http://127.0.0.1:{self.http.server_port}"
        self.base = host + "/git/"
        self.http.handle_error = lambda *_: None  # a connection that the other side ends is what some tests are about
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


class Place:
    """A WORKER_DIR and a git server with its repositories."""

    def __init__(self, folder, tls=None):
        self.root, self.dir = folder / "git", folder / "worker"
        for needed in (self.root, self.dir / "mirrors", self.dir / "trees"):
            needed.mkdir(parents=True)
        self.git_server = Server(self.root, tls)
        self.server, self.base = self.git_server.http, self.git_server.base

    def git(self, repository, *arguments, **more):
        return subprocess.run(["git", "-C", self.root / repository, "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
                              check=True, stdout=subprocess.PIPE, **{"text": True, **more}).stdout.strip()

    def make(self, repository):
        if not (self.root / repository).exists():
            subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.root / repository], check=True)

    def blob(self, content, repository="r.git"):
        self.make(repository)
        return self.git(repository, "hash-object", "-w", "--stdin", input=content if isinstance(content, bytes) else content.encode(),
                        text=False).decode()

    def raw_tree(self, entries, repository="r.git"):
        """A tree of (mode, name, id) as given: in that order, whatever the names are."""
        raw = b"".join(mode.encode() + b" " + (name if isinstance(name, bytes) else name.encode()) + b"\0" + bytes.fromhex(id_)
                       for mode, name, id_ in entries)
        return self.git(repository, "hash-object", "-w", "--literally", "-t", "tree", "--stdin", input=raw, text=False).decode()

    def commit_tree(self, tree, repository="r.git", branch="main"):
        head = subprocess.run(["git", "-C", self.root / repository, "rev-parse", "-q", "--verify", branch],
                              stdout=subprocess.PIPE, text=True, check=False).stdout.split()
        raw = f"tree {tree}\n" + "".join(f"parent {parent}\n" for parent in head) + "author a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n"
        commit = self.git(repository, "hash-object", "-w", "-t", "commit", "--stdin", input=raw)
        self.git(repository, "update-ref", f"refs/heads/{branch}", commit)
        return commit

    def commit(self, repository="r.git", files=None, branch="main"):
        """A commit on the branch of a bare repository, without a work tree; its id."""
        entries = [("100755" if name.endswith(".sh") else "100644", name, self.blob(text, repository))
                   for name, text in sorted((files or {"main.sh": "#!/bin/sh\n"}).items())]
        return self.commit_tree(self.raw_tree(entries, repository), repository, branch)

    def order(self, url, ref=None, **more):
        order = {"op": "fetch", "url": url if "://" in url else self.base + url, "ref": ref, "git_allow": self.base,
                 "dir": str(self.dir), "pack_bytes": 1 << 28, "tree_bytes": 1 << 28, "files": 10000,
                 "connect_timeout_ms": 2000, **more}
        return json.dumps(order) + "\n"

    def fetch(self, url="r.git", ref=None, environment=None, memory_bytes=None, **more):
        limit = [] if memory_bytes is None or "address" in str(PROGRAM) else ["prlimit", f"--as={memory_bytes}"]
        done = subprocess.run([*limit, PROGRAM], input=self.order(url, ref, **more), stdout=subprocess.PIPE, text=True, timeout=60, check=True,
                              env={**os.environ, **(environment or {})})
        return json.loads(done.stdout)

    def evict(self, keep_bytes, in_use=()):
        order = {"op": "evict", "dir": str(self.dir), "keep_bytes": keep_bytes, "in_use": list(in_use)}
        return json.loads(subprocess.run([PROGRAM], input=json.dumps(order) + "\n", stdout=subprocess.PIPE, text=True, timeout=60,
                                         check=True).stdout)


@contextlib.contextmanager
def place_at(folder, tls=None):
    place = Place(folder, tls)
    try:
        yield place
    finally:
        place.git_server.close()


def altered(change):
    """What git http-backend answers, with its content changed on the way."""
    def act(request):
        path, _, query = request.path.partition("?")
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        code, headers, content = request.backend(path, query, body)
        request.say(code, {**headers, "Connection": "close"}, change(content))
    return act


def failed(answer, code, blame):
    assert (answer["ok"], answer.get("code"), answer.get("blame")) == (False, code, blame), answer
    return answer["message"]


def status(code, headers=b""):
    return lambda request: request.wfile.write(b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n" % (code, headers))

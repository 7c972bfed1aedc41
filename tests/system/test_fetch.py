"""bin/trabajos-fetch itself, against git http-backend and servers that misbehave; no stack is needed."""
import http.server
import json
import os
import signal
import subprocess
import threading
import time

import pytest

import trabajos

PROGRAM = trabajos.BIN / "trabajos-fetch"
ADVERT = (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n"
          b"001e# service=git-upload-pack\n0000")


class Handler(http.server.BaseHTTPRequestHandler):
    """git http-backend below /git/ and /other/, and what the tests put into server.odd by path."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        odd = next((act for path, act in self.server.odd.items() if self.path.startswith(path)), None)
        self.server.requests.append(self.path)
        if odd:
            self.close_connection = True
            odd(self)
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        environment = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1",
                       "PATH_INFO": path[path.index("/", 1):], "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                       "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                       "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        done = subprocess.run(["git", "http-backend"], input=body, stdout=subprocess.PIPE, env=environment, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response_only(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Place:
    def __init__(self, tmp_path):
        self.root, self.dir = tmp_path / "git", tmp_path / "worker"
        for folder in (self.root, self.dir / "mirrors", self.dir / "trees"):
            folder.mkdir(parents=True)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.root, self.server.odd, self.server.requests = self.root, {}, []
        self.base = f"http://127.0.0.1:{self.server.server_port}/git/"
        self.server.handle_error = lambda *_: None  # a connection that the other side ends is what some tests are about
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def git(self, repository, *arguments, **more):
        return subprocess.run(["git", "-C", self.root / repository, "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
                              check=True, stdout=subprocess.PIPE, text=True, **more).stdout.strip()

    def commit(self, repository="r.git", files=None, branch="main"):
        """A commit on the branch of a bare repository, without a work tree; its id."""
        if not (self.root / repository).exists():
            subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.root / repository], check=True)
        tree = ""
        for name, text in (files or {"main.sh": "#!/bin/sh\n"}).items():
            blob = self.git(repository, "hash-object", "-w", "--stdin", input=text)
            tree += f"{100755 if name.endswith('.sh') else 100644} blob {blob}\t{name}\n"
        tree = self.git(repository, "mktree", input=tree)
        head = subprocess.run(["git", "-C", self.root / repository, "rev-parse", "-q", "--verify", branch],
                              stdout=subprocess.PIPE, text=True, check=False).stdout.split()
        commit = self.git(repository, "commit-tree", "-m", "x", *[word for p in head for word in ("-p", p)], tree)
        self.git(repository, "update-ref", f"refs/heads/{branch}", commit)
        return commit

    def order(self, url, ref=None, **more):
        order = {"op": "fetch", "url": url if "://" in url else self.base + url, "ref": ref, "git_allow": self.base,
                 "dir": str(self.dir), "pack_bytes": 1 << 28, "tree_bytes": 1 << 28, "files": 10000,
                 "connect_timeout_ms": 2000, **more}
        return json.dumps(order) + "\n"

    def fetch(self, url="r.git", ref=None, **more):
        done = subprocess.run([PROGRAM], input=self.order(url, ref, **more), stdout=subprocess.PIPE, text=True, timeout=60, check=True)
        return json.loads(done.stdout)


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.server.shutdown()
    place.server.server_close()


def failed(answer, code, blame):
    assert (answer["ok"], answer.get("code"), answer.get("blame")) == (False, code, blame), answer
    return answer["message"]


def test_a_commit_is_fetched_with_its_plan_and_again_without_the_remote(place):
    commit = place.commit()
    answer = place.fetch()
    assert (answer["commit"], answer["remote"], answer["plan"]["command"]) == (commit, True, "./main.sh")
    assert (place.dir / answer["tree"] / "main.sh").read_text() == "#!/bin/sh\n"
    asked = len(place.server.requests)
    again = place.fetch(ref=commit.upper())
    assert (again["tree"], again["remote"], len(place.server.requests)) == (answer["tree"], False, asked)


def test_a_branch_is_asked_for_again_and_only_what_changed_is_fetched(place):
    place.commit()
    place.fetch()
    second = place.commit(files={"main.py": "x"})
    answer = place.fetch(ref="main")
    assert (answer["commit"], answer["plan"]["kind"]) == (second, "main.py")
    assert sum("git-upload-pack" in r and "info/refs" not in r for r in place.server.requests) == 2
    place.fetch(ref="main")
    assert sum("git-upload-pack" in r and "info/refs" not in r for r in place.server.requests) == 2


def test_refs_mean_what_git_means(place):
    first = place.commit()
    place.git("r.git", "tag", "-a", "-m", "x", "v1", first)
    place.git("r.git", "update-ref", "refs/pull/7/head", first)
    second = place.commit()
    for ref, commit in ((None, second), ("HEAD", second), ("main", second), ("refs/heads/main", second), ("v1", first),
                        ("tags/v1", first), ("refs/tags/v1", first), ("refs/pull/7/head", first), (first, first)):
        assert place.fetch(ref=ref)["commit"] == commit
    for ref in ("nope", "refs/heads/nope", first[:12], "0" * 40):
        assert ref in failed(place.fetch(ref=ref), "not_found", "user")


def test_a_commit_that_no_ref_reaches_is_not_found(place):
    place.commit()
    orphan = place.git("r.git", "commit-tree", "-m", "orphan", "main^{tree}")
    failed(place.fetch(ref=orphan), "not_found", "user")


def test_a_commit_of_one_url_is_not_served_for_another(place):
    secret = place.commit("secret.git")
    place.commit("r.git", files={"x": "y"})
    place.fetch("secret.git")
    failed(place.fetch("r.git", ref=secret), "not_found", "user")


def test_empty_and_missing_repositories_are_not_found(place):
    subprocess.run(["git", "init", "-q", "--bare", place.root / "empty.git"], check=True)
    assert "empty" in failed(place.fetch("empty.git"), "not_found", "user")
    failed(place.fetch("nope.git"), "not_found", "user")


@pytest.mark.parametrize("url, code", [
    ("file:///etc", "denied"), ("ssh://git@h.org/x", "denied"), ("https://127.0.0.1/x", "denied"), ("http://localhost/x", "denied"),
    ("https://[::ffff:10.0.0.1]/x", "denied"), ("https://u:hunter2@h.org/x", "not_found"), ("no url://h.org", "not_found")])
def test_urls_that_may_not_be_fetched_are_refused(place, url, code):
    answer = place.fetch(url)
    assert "hunter2" not in failed(answer, code, "user")
    assert place.server.requests == []


def status(code, headers=b""):
    return lambda request: request.wfile.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n%s\r\n" % (code, headers))


@pytest.mark.parametrize("act, code, blame", [
    (status(401, b'WWW-Authenticate: Basic realm="x"\r\n'), "not_found", "user"), (status(403), "not_found", "user"),
    (status(404), "not_found", "user"), (status(500), "fetch", "platform"), (status(429), "fetch", "platform"),
    (lambda request: request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"), "not_found", "user"),
    (lambda request: request.wfile.write(ADVERT[:-9]), "fetch", "platform"),
    (lambda request: request.wfile.write(ADVERT + b"fff0" + b"x" * 100), "fetch", "platform"),
    (lambda request: request.wfile.write(b"\0\1\2garbage"), "fetch", "platform"),
    (lambda request: None, "fetch", "platform")])
def test_servers_that_refuse_or_talk_nonsense_are_told_apart(place, act, code, blame):
    place.server.odd["/git/odd"] = act
    failed(place.fetch("odd.git"), code, blame)


def test_redirects_lead_nowhere_else(place):
    place.commit()
    port = place.server.server_port
    targets = {"path": "/other/r.git", "port": f"http://127.0.0.1:{port + 1}/git/r.git", "host": f"http://localhost:{port}/git/r.git",
               "scheme": f"https://127.0.0.1:{port}/git/r.git", "up": "/git/../other/r.git"}
    for name, target in targets.items():
        rest = "/info/refs?service=git-upload-pack"
        place.server.odd[f"/git/{name}.git"] = status(301, f"Location: {target}{rest}\r\n".encode())
        failed(place.fetch(f"{name}.git"), "denied", "user")
    assert not any(request.startswith("/other/") for request in place.server.requests)


def test_a_server_that_never_stops_talking_is_cut_off(place):
    def flood(request):
        request.wfile.write(ADVERT)
        for number in range(10000000):
            request.wfile.write(b"003e%040x refs/heads/%05x\n" % (number, number % 1048576))
    place.server.odd["/git/flood"] = flood
    failed(place.fetch("flood.git", pack_bytes=1 << 20), "fetch", "limit")


def test_too_large_packs_trees_and_file_counts_are_limits(place):
    place.commit(files={f"f{number}": os.urandom(20000).hex() for number in range(20)})
    failed(place.fetch(pack_bytes=50000), "fetch", "limit")
    failed(place.fetch(files=10), "fetch", "limit")
    failed(place.fetch(tree_bytes=100000), "fetch", "limit")
    assert place.fetch()["files"] == 20


def test_many_refs_cost_one_file(place):
    commit = place.commit()
    (place.root / "r.git/packed-refs").write_text(
        "# pack-refs with: peeled fully-peeled sorted \n" + "".join(f"{commit} refs/heads/b{n:05}\n" for n in range(20000)))
    assert place.fetch(ref="b19999")["commit"] == commit
    assert sum(1 for _ in place.dir.rglob("*")) < 60


def test_fetches_of_one_url_at_once_fetch_it_once(place):
    commit = place.commit(files={f"f{number}": os.urandom(1000).hex() for number in range(100)})
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(place.fetch())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.get("commit") for answer in answers] == [commit] * 6
    assert sum(answer["added_bytes"] > 0 for answer in answers) == 1


def test_a_fetch_that_is_killed_at_any_moment_leaves_nothing_that_hurts(place):
    commit = place.commit(files={f"f{number}": os.urandom(1000).hex() for number in range(300)})
    for number in range(12):
        child = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        child.stdin.write(place.order("r.git").encode())
        child.stdin.close()
        time.sleep(0.008 * number)  # the moment is what varies here: nothing is awaited
        child.send_signal(signal.SIGKILL)
        child.wait()
    answer = place.fetch()
    assert answer["commit"] == commit
    assert len(list((place.dir / answer["tree"]).iterdir())) == answer["files"] == 300


@pytest.mark.parametrize("what", ["pack", "idx", "HEAD", "config", "packed-refs", "json"])
def test_damage_is_noticed_and_repaired(place, what):
    commit = place.commit(files={f"f{number}": os.urandom(1000).hex() for number in range(50)})
    answer = place.fetch()
    files = [path for path in place.dir.rglob("*") if path.is_file() and (path.name == what or path.suffix == "." + what)]
    assert files
    for path in files:
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        for at in range(0, len(data), 7):
            data[at] ^= 0x55
        path.write_bytes(data)
    if what != "json":
        for path in place.dir.glob("trees/*/*.json"):
            path.unlink()
    again = place.fetch()
    assert again["commit"] == commit, again
    for path in (place.dir / again["tree"]).iterdir():
        assert path.read_text() == place.git("r.git", "cat-file", "blob", f"{commit}:{path.name}")
    assert again["tree"] == answer["tree"]


def test_a_commit_that_a_branch_no_longer_has_is_still_served_where_it_was_resolved(place):
    first = place.commit()
    place.fetch()
    place.git("r.git", "update-ref", "refs/heads/main", place.git("r.git", "commit-tree", "-m", "new", "main^{tree}"))
    place.fetch(ref="main")
    assert place.fetch(ref=first)["remote"] is False


def test_garbage_instead_of_an_order_is_an_exit_code(place):
    for text in ("", "\n", "{}\n", '{"op":"fetch"}\n', '{"op":"dance","dir":"/"}\n', "[" * 100000 + "\n", place.order("x")[:-1]):
        done = subprocess.run([PROGRAM], input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
    assert subprocess.run([PROGRAM, "--help"], stderr=subprocess.DEVNULL, check=False).returncode == 64

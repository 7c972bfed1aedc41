"""Private git servers: what is shown to whom (GIT_CREDENTIALS_FILE), and by what they are trusted (GIT_CA_FILE)."""
import json

import pytest

import fetching
import trabajos
from fetching import failed, status

BOT = {"id": "b" * 64, "username": "bot", "password": "tok+en/ä=:@"}
SECRET = "bot:tok+en/ä=:@"


@pytest.fixture
def place(tmp_path):
    with fetching.place_at(tmp_path) as place:
        place.server.passwords["/git/private"] = SECRET
        yield place


@pytest.fixture
def tls(tmp_path):
    ca, both = fetching.certificate(tmp_path)
    with fetching.place_at(tmp_path, both) as place:
        place.ca = ca
        yield place


def shown(place):
    return [header for header in place.server.shown if header]


def test_a_private_repository_is_fetched_with_its_credential_and_not_without(place):
    commit = place.commit("private.git")
    failed(place.fetch("private.git"), "not_found", "user")
    assert shown(place) == []
    assert place.fetch("private.git", credential=BOT)["commit"] == commit
    assert shown(place)


def test_a_credential_is_shown_only_where_the_server_asks_for_one(place):
    place.commit("open.git")
    assert place.fetch("open.git", credential=BOT)["ok"]
    assert shown(place) == []


def test_what_a_credential_fetched_serves_no_other_credential_and_not_the_public(place):
    commit = place.commit("private.git")
    answer = place.fetch("private.git", credential=BOT)
    other = {**BOT, "id": "c" * 64, "password": "wrong"}
    for ref in (None, commit):
        failed(place.fetch("private.git", ref), "not_found", "user")
        assert "credential" in failed(place.fetch("private.git", ref, credential=other), "fetch", "platform")
    again = place.fetch("private.git", commit, credential=BOT)
    assert (again["remote"], again["tree"]) == (False, answer["tree"])


def test_a_password_that_is_not_taken_is_shown_once_and_is_the_operators_to_mend(place):
    place.commit("private.git")
    message = failed(place.fetch("private.git", credential={**BOT, "password": "hunter2"}), "fetch", "platform")
    assert "GIT_CREDENTIALS_FILE" in message and "hunter2" not in message
    assert len(shown(place)) == 1


def test_a_server_that_asks_for_something_else_than_a_password_gets_none(place):
    for number, scheme in enumerate((b"Negotiate", b"NTLM", b'Digest realm="x", nonce="y"', b"Bearer")):
        place.server.odd[f"/git/odd{number}"] = status(401, b"WWW-Authenticate: " + scheme + b"\r\n")
        assert not place.fetch(f"odd{number}.git", credential=BOT)["ok"]
    assert not [header for header in shown(place) if "Basic" in header]


def asks_then_redirects(target):
    def act(request):
        if request.headers.get("Authorization"):
            status(301, f"Location: {target}\r\n".encode())(request)
        else:
            status(401, b'WWW-Authenticate: Basic realm="x"\r\n')(request)
    return act


@pytest.mark.parametrize("ask_first", [False, True])
def test_a_credential_goes_nowhere_else(place, tmp_path, ask_first):
    place.commit("r.git")
    with fetching.place_at(tmp_path / "elsewhere") as thief:
        here, there = (f"http://127.0.0.1:{which.server.server_port}" for which in (place, thief))
        targets = (f"{there}/git/r.git", f"{here}/other/r.git", f"{here}/git/r.git", f"{here}/git/leaky.gitx",
                   f"{here}/git/leaky4.git/../r.git", f"{here}/git/leaky5.git/%2e%2e/r.git", f"{here}/git/leaky6.git/r.git",
                   f"http://localhost:{place.server.server_port}/git/r.git", f"{here}@{there[7:]}/git/r.git",
                   "/git/r.git", "//" + there[7:] + "/git/r.git")
        for number, target in enumerate(targets):
            target += "/info/refs?service=git-upload-pack"
            place.server.odd[f"/git/leaky{number}.git"] = asks_then_redirects(target) if ask_first else status(
                301, f"Location: {target}\r\n".encode())
            failed(place.fetch(f"leaky{number}.git", credential=BOT), "denied", "user")
        assert thief.server.requests == []
    asked = [f"/git/leaky{number}.git/info/refs?service=git-upload-pack" for number in range(len(targets))]
    assert place.server.requests == [path for path in asked for _ in range(1 + ask_first)]
    assert len(shown(place)) == (len(targets) if ask_first else 0)


def test_no_file_and_no_answer_holds_the_password(place):
    place.commit("private.git")
    answer = place.fetch("private.git", credential=BOT)
    failures = [place.fetch("private.git", "no-such-branch", credential=BOT), place.fetch("private.git", credential=BOT, pack_bytes=1)]
    assert "tok+en" not in json.dumps([answer, *failures])
    for path in place.dir.rglob("*"):
        assert not path.is_file() or b"tok+en" not in path.read_bytes(), path
    assert "bot" not in "".join(str(path.relative_to(place.dir)) for path in place.dir.rglob("*"))


def test_a_server_of_an_unknown_authority_is_not_trusted(tls):
    tls.commit()
    assert "certificate" in failed(tls.fetch(), "fetch", "user")
    assert tls.server.requests == []


def test_a_server_of_the_deployments_own_authority_is_trusted(tls):
    commit = tls.commit()
    tls.server.passwords["/git/"] = SECRET
    answer = tls.fetch(credential=BOT, environment={"GIT_CA_FILE": str(tls.ca)})
    assert answer["commit"] == commit


@pytest.mark.parametrize("host, days", [("git.example.org", 1), ("localhost", -1)])
def test_a_certificate_vouches_for_its_own_name_and_time_only(tmp_path, host, days):
    ca, both = fetching.certificate(tmp_path, host, days)
    with fetching.place_at(tmp_path, both) as tls:
        tls.commit()
        assert "certificate" in failed(tls.fetch(environment={"GIT_CA_FILE": str(ca)}), "fetch", "user")
        assert tls.server.requests == []


def test_a_server_that_speaks_no_tls_gets_no_credential(place):
    url = place.base.replace("http:", "https:")
    failed(place.fetch(url + "private.git", credential=BOT, git_allow=url), "fetch", "platform")
    assert shown(place) == [] and place.server.requests == []


# ---- with a worker


def write(path, entries, mode=0o600):
    path.write_text(json.dumps(entries))
    path.chmod(mode)
    return path


@pytest.fixture
def private(stack, tmp_path, no_worker):
    """A private git server over https, a worker that has its credential for `user`, and the file that says so."""
    ca, both = fetching.certificate(tmp_path)
    with fetching.place_at(tmp_path, both) as place:
        place.server.passwords["/git/"] = SECRET
        entry = {"url": place.base, "username": "bot", "password": BOT["password"], "users": ["user"]}
        place.file = write(tmp_path / "credentials.json", [entry])
        place.entry, place.ca = entry, ca
        place.allow = f"{stack.env['GIT_ALLOW']},{place.base}"
        yield place


def test_a_private_repository_runs_for_those_who_may_use_its_credential(stack, users, private, tmp_path):
    commit = private.commit(files={"main.sh": "#!/bin/sh\necho private\n"})
    url = private.base + "r.git"
    frontend = trabajos.frontend(stack, "private-frontend", GIT_ALLOW=private.allow)
    worker = trabajos.worker(stack, "private", GIT_ALLOW=private.allow, GIT_CREDENTIALS_FILE=private.file, GIT_CA_FILE=private.ca)
    with trabajos.running(frontend, worker):
        ana, eva = (trabajos.User(stack, frontend.url, name) for name in ("user", "user2"))
        for ref in ({}, {"ref": commit}):
            key, end, outcome = ana.run(url, **ref)
            assert (end, ana.log(key)) == ("Finished", "private\n"), outcome
            _, end, outcome = eva.run(url, **ref)
            assert (end, outcome["code"], outcome["blame"]) == ("Failed", "not_found", "user"), outcome
        # A token that was renewed, and a second user: without a restart.
        private.server.passwords["/git/"] = "bot:renewed"
        write(private.file, [{**private.entry, "password": "renewed", "users": ["user", "user2"]}])
        assert eva.run(url)[1] == "Finished"
        write(private.file, [])
        assert ana.run(url, ref=commit)[2]["code"] == "not_found"
    said = worker.log.read_text() + frontend.log.read_text()
    assert "tok+en" not in said and "renewed" not in said
    assert [row for row in stack.sql("SELECT 1 FROM trabajos WHERE outcome::text LIKE '%%tok+en%%'")] == []


@pytest.mark.parametrize("name, text, words", [
    ("GIT_CREDENTIALS_FILE", '[{"url":"https://a.org/"}]', "entry 1: username"), ("GIT_CREDENTIALS_FILE", None, "No such file"),
    ("GIT_CREDENTIALS_FILE", 0o644, "chmod 600"), ("GIT_CA_FILE", "no certificate", "holds no certificate"),
    ("GIT_CA_FILE", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 cannot be read"),
    ("GIT_CA_FILE", None, "No such file")])
def test_a_file_that_is_not_as_it_should_be_ends_the_start(stack, tmp_path, name, text, words):
    path = tmp_path / "file"
    if text is not None:
        path.write_text(text if isinstance(text, str) else "[]")
        path.chmod(text if isinstance(text, int) else 0o600)
    worker = trabajos.worker(stack, "bad-trust", **{name: path}).start(ready=False)
    assert worker.process.wait(60) == 78
    last = worker.tail(1)
    assert name in last and words in last, last

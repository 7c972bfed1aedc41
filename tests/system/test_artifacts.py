"""What jobs leave: collected from their trees, kept by content, had by their owners alone, and gone with their jobs."""

import hashlib
import http.client
import os
import signal
import urllib.parse

import pytest

import trabajos
from trabajos import Repository, running, wait_for

PLAN = """run: sh make.sh
artifacts:
  - out/**
  - "*.txt"
  - deep/*/[ab].bin
"""
MAKE = r"""set -e
mkdir -p out/sub deep/x deep/y && cd out
printf 'hello\n' >hello.txt
printf 'hello\n' >sub/twin.txt
ln hello.txt link.txt
: >empty
printf 'ñandú' >'ñ and ú %2e.md'
printf '<script>alert(1)</script>' >page.html
seq 1 200000 >large.csv
ln -s /etc/passwd passwd && ln -s ../../../../../etc secrets && ln -s . loop
mkfifo pipe
printf x >"$(printf 'line\nbreak')"
printf x >"$(printf 'no\377utf8')"
truncate -s 900M sparse
echo no >.hidden
chmod 000 sub/../empty && chmod 644 empty
echo closed >closed && chmod 000 closed
cd ..
printf a >deep/x/a.bin; printf b >deep/y/b.bin; printf c >deep/y/c.bin
d=out; i=0; while [ $i -lt 80 ]; do d=$d/d; i=$((i+1)); done; mkdir -p $d; echo deep >$d/f
echo top >top.txt
echo never >other.log
exit ${CODE:-0}
"""
WANTED = {"out/hello.txt": b"hello\n", "out/sub/twin.txt": b"hello\n", "out/link.txt": b"hello\n", "out/empty": b"",
          "out/ñ and ú %2e.md": "ñandú".encode(), "out/page.html": b"<script>alert(1)</script>",
          "out/large.csv": "".join(f"{n}\n" for n in range(1, 200001)).encode(),
          "deep/x/a.bin": b"a", "deep/y/b.bin": b"b", "top.txt": b"top\n"}


@pytest.fixture(scope="module")
def repository(stack):
    return Repository(stack, "artifacts", {"trabajo.yaml": PLAN, "make.sh": MAKE})


def listed(user, key):
    answer = user.get(f"/api/v1/trabajos/{key}/artifacts")
    assert answer.status_code == 200, answer.text
    return {row["path"]: row for row in answer.json()}


def had(user, key, path, **headers):
    return user.get(f"/api/v1/trabajos/{key}/artifacts/{urllib.parse.quote(path)}", headers=headers)


def detail(stack, key):
    return stack.sql("SELECT detail -> 'artifacts' FROM attempts WHERE key = %s ORDER BY attempt DESC LIMIT 1", key)[0][0]


@pytest.fixture(scope="module")
def left(stack, users, session_worker, repository):
    key, status, outcome = users["user"].run(repository.url)
    assert status == "Finished", outcome
    return key


def test_what_the_globs_name_is_kept_as_it_was(stack, user, left):
    rows = listed(user, left)
    assert sorted(rows) == sorted(WANTED, key=str.encode), detail(stack, left)
    for path, content in WANTED.items():
        assert rows[path]["size"] == len(content)
        assert rows[path]["sha256"] == hashlib.sha256(content).hexdigest()
        answer = had(user, left, path)
        assert answer.status_code == 200 and answer.content == content, path
    assert rows["out/page.html"]["type"] == "text/html; charset=utf-8"
    # the same content is stored once
    assert stack.sql("SELECT count(DISTINCT blob) FROM artifacts WHERE key = %s AND size = 6", left) == [(1,)]


def test_what_was_left_out_is_said(stack, user, left):
    said = detail(stack, left)
    assert said["files"] == len(WANTED) and "error" not in said
    reasons = {row["path"]: row["reason"] for row in said["left_out_paths"]}
    for path, reason in (("out/sparse", "ARTIFACTS_MB"), ("out/pipe", "no regular file"), ("out/passwd", "no regular file"),
                         ("out/secrets", "no regular file"), ("out/closed", "cannot be read"), ("out/line?break", "control"),
                         ("out/no?utf8", "UTF-8")):
        assert reason in reasons[path], reasons
    assert any("too deep" in reason for reason in reasons.values())
    assert said["left_out"] == len(reasons)
    assert user.get(f"/api/v1/trabajos/{left}").json()["artifacts"] == said


def test_a_download_is_never_shown_in_place(user, left):
    answer = had(user, left, "out/ñ and ú %2e.md")
    headers = answer.headers
    assert headers["Content-Disposition"] == ("attachment; filename=\"__ and __ _2e.md\"; "
                                              "filename*=UTF-8''%C3%B1%20and%20%C3%BA%20%252e.md")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("sandbox")
    assert headers["Content-Type"] == "text/markdown; charset=utf-8"


def test_parts_of_it_can_be_had_and_what_is_known_need_not_come_again(user, left):
    path, content = "out/large.csv", WANTED["out/large.csv"]
    etag = had(user, left, path).headers["ETag"]
    assert etag == f'"{hashlib.sha256(content).hexdigest()}"'
    for first, last in ((0, 0), (262100, 262200), (300000, len(content) - 1)):
        answer = had(user, left, path, Range=f"bytes={first}-{last}")
        assert answer.status_code == 206 and answer.content == content[first:last + 1]
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(content)}"
    assert had(user, left, path, Range="bytes=-5").content == content[-5:]
    assert had(user, left, path, Range=f"bytes={len(content)}-").status_code == 416
    known = had(user, left, path, **{"If-None-Match": etag})
    assert known.status_code == 304 and not known.content
    assert had(user, left, path, Range="bytes=0-3", **{"If-Range": '"other"'}).status_code == 200
    head = user.get(f"/api/v1/trabajos/{left}/artifacts/{path}", method="HEAD")
    assert head.status_code == 200 and int(head.headers["Content-Length"]) == len(content)


def test_another_users_artifacts_are_like_none(users, user, left, stack):
    nobody = "/api/v1/trabajos/00000000-0000-7000-8000-000000000000/artifacts"
    for path in ("", "/out/hello.txt"):
        theirs = users["user2"].get(f"/api/v1/trabajos/{left}/artifacts{path}")
        none = users["user2"].get(nobody + path)
        assert theirs.status_code == none.status_code == 404
        assert {**theirs.json(), "request_id": 0} == {**none.json(), "request_id": 0}
    assert users["admin"].get(f"/api/v1/trabajos/{left}/artifacts/top.txt").content == b"top\n"
    for path in ("out/../top.txt", "../top.txt", "%2e%2e/top.txt", "/etc/passwd", "out/passwd", "out", "out/hello.txt/", "%00",
                 "top.txt%00"):
        connection = http.client.HTTPConnection(user.url.removeprefix("http://"), timeout=10)  # sends the path as it is
        connection.request("GET", f"/api/v1/trabajos/{left}/artifacts/{path}", headers={"Authorization": f"Bearer {user.token()}"})
        assert connection.getresponse().status in (400, 404), path
        connection.close()


def test_the_same_content_of_another_owner_is_stored_apart(stack, users, user, left, repository):
    key, status, _ = users["user2"].run(repository.url)
    assert status == "Finished"
    content = hashlib.sha256(b"hello\n").hexdigest()
    owners = stack.sql("SELECT count(*), count(DISTINCT owner) FROM blobs WHERE sha256 = %s AND stored", content)
    assert owners == [(2, 2)]
    again, status, _ = user.run(repository.url)
    assert status == "Finished" and len(listed(user, again)) == len(WANTED)
    assert stack.sql("SELECT count(*), count(DISTINCT owner) FROM blobs WHERE sha256 = %s AND stored", content) == owners


def test_a_job_that_fails_leaves_its_artifacts_too_and_a_replay_takes_them_back(stack, user, worker, no_retention_of):
    repository = Repository(stack, "artifacts-failing", {"trabajo.yaml": "run: echo bad >report.txt; sleep ${NAP:-0}; exit 3\n"
                                                                        "artifacts: [report.txt]\n"})
    key, status, outcome = user.run(repository.url)
    assert (status, outcome["exit_code"]) == ("Failed", 3)
    assert list(listed(user, key)) == ["report.txt"]
    worker.stop()
    assert user.get(f"/api/v1/trabajos/{key}/replay", method="POST").status_code == 202
    assert not listed(user, key)
    assert had(user, key, "report.txt").status_code == 404
    worker.start()
    user.await_end(key)
    assert list(listed(user, key)) == ["report.txt"]
    no_retention_of(key)


@pytest.fixture
def no_retention_of(stack):
    """Removes a job as retention does; nothing of its artifacts is left but content that waits to be collected."""
    def remove(key):
        blobs = tuple(row[0] for row in stack.sql("SELECT blob FROM artifacts WHERE key = %s", key))
        trabajos.forget(stack, key)
        assert stack.sql("SELECT count(*) FROM artifacts WHERE key = %s", key) == [(0,)]
        stack.sql("UPDATE blobs SET loose_at = now() - interval '2 hours' WHERE id::text IN %s", blobs)
        stack.sql("SELECT artifacts_collect(1000, interval '1 hour')")
        assert stack.sql("SELECT count(*) FROM blobs WHERE id::text IN %s", blobs) == [(0,)]
        assert stack.sql("SELECT count(*) FROM blob_chunks WHERE blob::text IN %s", blobs) == [(0,)]
    return remove


def test_a_reused_result_has_the_artifacts_of_its_own(stack, user, worker, repository):
    first = user.get("/api/v1/trabajos", method="POST", headers={"Content-Type": "application/json"},
                     data='{"url": "%s", "reuse": true, "labels": {"reuse": "artifacts"}}' % repository.url).json()["key"]
    user.await_end(first)
    second = user.get("/api/v1/trabajos", method="POST", headers={"Content-Type": "application/json"},
                      data='{"url": "%s", "reuse": true}' % repository.url).json()["key"]
    user.await_end(second)
    assert user.get(f"/api/v1/trabajos/{second}").json()["reused_from"] == first
    assert listed(user, second) == listed(user, first)
    # also when the earlier job is gone
    trabajos.forget(stack, first)
    assert had(user, second, "out/hello.txt").content == b"hello\n"


def test_limits_of_number_and_of_a_user_hold(stack, users, no_worker):
    repository = Repository(stack, "artifacts-many", {
        "trabajo.yaml": "run: for i in $(seq 100 140); do echo $i >f$i.txt; done; head -c 2000000 /dev/urandom >z.bin\n"
                        "artifacts: ['*.txt', z.bin]\n"})
    user = users["user2"]
    used = stack.sql("SELECT sum(size) FROM blobs WHERE owner = %s", user.claims()["sub"])[0][0] or 0
    with running(trabajos.worker(stack, "artifacts-few", ARTIFACTS_FILES=42, ARTIFACTS_USER_MB=(int(used) >> 20) + 3)):
        key, status, _ = user.run(repository.url)
        assert status == "Finished"
        assert len(listed(user, key)) == 42 and detail(stack, key)["left_out"] == 0
        key, status, _ = user.run(repository.url)
        said = detail(stack, key)
        assert status == "Finished" and said["left_out"] == 1, said
        assert said["left_out_paths"] == [{"path": "z.bin", "reason": "no room: ARTIFACTS_USER_MB"}]
    with running(trabajos.worker(stack, "artifacts-fewer", ARTIFACTS_FILES=10)):
        key, _, _ = user.run(repository.url)
        assert len(listed(user, key)) == 10 and detail(stack, key)["left_out"] == 32


def test_artifacts_of_an_attempt_that_was_taken_over_are_never_seen_and_collected(stack, user, no_worker):
    repository = Repository(stack, "artifacts-fenced", {
        "trabajo.yaml": "run: echo $TRABAJO_ATTEMPT >which.txt\nartifacts: [which.txt]\n"})
    owner = user.claims()["sub"]
    with running(trabajos.worker(stack, "artifacts-frozen", LEASE_S=3)) as (frozen,):
        # holds the worker in the middle: its artifacts are written, and its end waits for this lock
        with stack.connected() as lock:
            lock.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 23))", (owner,))
            key = user.add(repository.url)
            wait_for("the content is written", lambda: stack.sql(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")[0][0])
            frozen.signal(signal.SIGSTOP)
            stack.sql("UPDATE attempts SET lease_until = now() - interval '1 minute' WHERE key = %s", key)
        wait_for("the rows are there", lambda: stack.sql("SELECT count(*) FROM artifacts WHERE key = %s AND attempt = 1", key)[0][0])
        assert not listed(user, key)
        with running(trabajos.worker(stack, "artifacts-other", LEASE_S=3)):
            assert user.await_end(key) == "Finished"
            attempt = stack.sql("SELECT attempt FROM trabajos WHERE key = %s", key)[0][0]
            assert attempt > 1
            assert had(user, key, "which.txt").content == b"%d\n" % attempt
        frozen.signal(signal.SIGCONT)
        wait_for("it gave its attempt up", lambda: "not ours any more" in frozen.tail(400) or "taken over" in frozen.tail(400))
    stack.sql("SELECT artifacts_collect(1000, interval '1 hour')")
    assert stack.sql("SELECT DISTINCT attempt FROM artifacts WHERE key = %s", key) == [(attempt,)]


def test_a_folder_keeps_content_outside_of_the_ledger(stack, user, users, no_worker, repository):
    folder = stack.dir / "artifacts"
    folder.mkdir(exist_ok=True)
    shared = {"ARTIFACTS_DIR": folder}
    with running(trabajos.worker(stack, "artifacts-folder", **shared), trabajos.frontend(stack, "artifacts-front", **shared)) as daemons:
        there = trabajos.User(stack, daemons[1].url, "admin")
        key, status, _ = there.run(repository.url)
        assert status == "Finished"
        for path, content in WANTED.items():
            assert had(there, key, path).content == content, path
        assert had(there, key, "out/large.csv", Range="bytes=300000-300009").content == WANTED["out/large.csv"][300000:300010]
        # a frontend that does not reach the folder says so
        assert had(users["admin"], key, "out/hello.txt").status_code == 503
        objects = [path for path in folder.glob("objects/*/*")]
        assert len(objects) == len({content for content in WANTED.values()})
        for path in objects:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name.split("-")[0]
            assert path.stat().st_mode & 0o007 == 0
        assert not os.listdir(folder / "incoming")
        trabajos.forget(stack, key)
        stack.sql("UPDATE blobs SET loose_at = now() - interval '2 hours' WHERE place = 'folder'")
        stack.sql("SELECT artifacts_collect(1000, interval '1 hour')")
        assert stack.sql("SELECT count(*) FROM blobs WHERE place = 'folder'") == [(0,)]
        assert stack.sql("SELECT count(*) FROM blobs_doomed")[0][0] == len(objects)

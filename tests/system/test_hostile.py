"""What somebody can try who means harm: others' keys, paths that lead elsewhere, headers in values, bodies that are none, and time."""

import contextlib
import json
import re
import select
import socket
import time
import urllib.parse
import uuid

import pytest
import yaml

import trabajos

CONTRACT = yaml.safe_load((trabajos.ROOT / "docs/openapi.yaml").read_text(encoding="utf-8"))
JOBS = "/api/v1/trabajos"


def call(user, method, path, **more):
    user.token()
    return user.session.request(method, user.url + path, timeout=30, **more)


def dial(frontend, **options):
    host, port = urllib.parse.urlsplit(frontend.url).netloc.split(":")
    connection = socket.socket()
    for option, value in options.items():
        connection.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
    connection.settimeout(60)
    connection.connect((host, int(port)))
    return connection


def raw(frontend, text):
    """All that comes until the connection ends."""
    with dial(frontend) as connection:
        connection.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                parts.append(part)
    return b"".join(parts)


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


# ---- others' keys

def keyed_calls():
    """(method, path) of every call that names a job or a schedule in its path."""
    for path, item in CONTRACT["paths"].items():
        if "{key}" in path or "{id}" in path:
            for method in ("get", "put", "post", "patch", "delete"):
                if method in item:
                    yield method.upper(), path


def told(answer, name):
    """All of an answer but what differs each time; the name of what was asked for stands as NAME."""
    headers = {key.lower(): value for key, value in answer.headers.items() if key.lower() not in ("date", "x-request-id")}
    text = answer.content.decode().replace(answer.headers["X-Request-Id"], "ID").replace(name, "NAME")
    return answer.status_code, headers, text


def test_another_users_job_or_schedule_is_answered_like_none_in_every_call(stack, users, worker, script):
    owner, other = users["user"], users["user2"]
    key, _, _ = owner.run(script("echo secret words").url)
    made = call(owner, "POST", "/api/v1/schedules", json={"name": uuid.uuid4().hex, "cron": "@yearly", "url": script("true").url})
    schedule, before = made.json()["id"], owner.get(f"{JOBS}/{key}").json()
    calls = list(keyed_calls())
    assert len(calls) >= 8
    try:
        for method, path in calls:
            mine = schedule if "/schedules/" in path else key
            for headers in ({}, {"Accept": "text/event-stream"}, {"If-None-Match": "*", "Range": "bytes=0-"}, {"Accept-Language": "es"}):
                answers = []
                for name in (mine, str(uuid.uuid4())):
                    place = re.sub(r"\{(key|id)\}", name, path)
                    answers.append(told(call(other, method, re.sub(r"\{\w+\}", "x", place), headers=headers), name))
                assert answers[0] == answers[1] and answers[0][0] == 404, (method, path, answers)
        for path in ("/status?key={}", "/all?limit=5&after={}", JOBS + "?after={}", "/api/v1/dead?after={}"):
            nobodys = str(uuid.uuid4())
            assert told(call(other, "GET", path.format(key)), key) == told(call(other, "GET", path.format(nobodys)), nobodys), path
        replayed = [call(other, "POST", "/api/v1/dead/replay", json={"keys": [name]}) for name in (key, str(uuid.uuid4()))]
        assert told(replayed[0], key) == told(replayed[1], key)
        assert owner.get(f"{JOBS}/{key}").json() == before and call(owner, "GET", f"/api/v1/schedules/{schedule}").json() == made.json()
    finally:
        call(owner, "DELETE", f"/api/v1/schedules/{schedule}")


def test_keys_that_are_none_are_answered_like_none(users):
    for name in ("x", "0", "-", "%00", "..", "'; DROP TABLE trabajos; --", "{key}", "x" * 4000, str(uuid.uuid4()) + "x", "ñ", "%F0%9F%92%A9"):
        for method, path in keyed_calls():
            answer = call(users["user"], method, re.sub(r"\{\w+\}", urllib.parse.quote(name, safe="%"), path))
            # a path with a NUL is none, and one of several parts is another
            assert answer.status_code in (400, 404, 405, 414), (method, path, name, answer.status_code)


# ---- paths and headers

@pytest.mark.parametrize("climb", [
    "../../../../../../etc/passwd", "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%5c..%5c..%5cetc%5cpasswd", "..\\..\\..\\etc\\passwd", "%252e%252e%252fetc%252fpasswd", "..%c0%af..%c0%afetc/passwd", "/etc/passwd",
    "%2fetc%2fpasswd", "....//....//etc/passwd", "..;/..;/etc/passwd", "x%00/../../etc/passwd", "./././etc/passwd", "?/../../etc/passwd",
])
def test_no_path_leads_to_a_file_of_the_machine(users, frontend, climb):
    user = users["user"]
    for place in ("/", "/web/", "/web/x/", "/api/v1/docs/", "/api/v1/docs/viewer.js/", f"{JOBS}/", f"{JOBS}/{uuid.uuid4()}/",
                  f"{JOBS}/{uuid.uuid4()}/artifacts/", f"{JOBS}/{uuid.uuid4()}/log/"):
        answer = raw(frontend, f"GET {place}{climb} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token()}\r\nConnection: close\r\n\r\n")
        assert b"root:" not in answer
        # "/" and a query is the help
        assert status_of(answer) in (400, 404) or (climb.startswith("?") and status_of(answer) in (200, 400, 404)), (place, answer[:300])


BREAKS = ("%0d%0aX-Injected:%20yes", "%0aX-Injected:%20yes", "%0d%0a%0d%0a<html>", "%E5%98%8A%E5%98%8DX-Injected:%20yes", "%00X-Injected:%20yes")


@pytest.mark.parametrize("broken", BREAKS)
def test_no_value_becomes_a_header(users, frontend, script, broken):
    admin = users["admin"]
    call(admin, "POST", JOBS, json={"url": script("true").url, "labels": {"x": urllib.parse.unquote(broken, errors="replace")}})
    targets = [f"/{broken}", f"/add?url={broken}", f"/status?key={broken}", f"/all?limit=1&usuario={broken}", f"{JOBS}?limit=1&label={broken}",
               f"{JOBS}?limit=1&usuario=*&label=x={broken}", f"{JOBS}?limit=1&usuario={broken}", f"{JOBS}?status={broken}", f"{JOBS}/{broken}",
               f"/api/v1/schedules/{broken}", f"/web/{broken}", f"/api/v1/docs{broken}"]
    for target in targets:
        for method in ("GET", "OPTIONS", "POST"):
            answer = raw(frontend, f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin.token()}\r\n"
                                   "Content-Length: 0\r\nConnection: close\r\n\r\n")
            head = answer.split(b"\r\n\r\n")[0]
            assert status_of(answer) and answer.count(b"HTTP/1.1 ") == 1 and b"\nX-Injected" not in head, (method, target, answer)
    for header in ("X-Request-Id", "Origin", "Idempotency-Key", "Accept-Language", "X-Forwarded-Host", "If-None-Match", "Last-Event-ID"):
        value = urllib.parse.unquote(broken, errors="replace").replace("\r\n", "\r").replace("\n", "\r")
        answer = raw(frontend, f"GET {JOBS}?limit=0 HTTP/1.1\r\nHost: x\r\n{header}: {value}\r\nConnection: close\r\n\r\n".encode())
        assert b"\nX-Injected" not in answer.split(b"\r\n\r\n")[0], (header, answer)


# ---- bodies

BODIES = {
    "unfinished": b'{"url": "https://a.example/b"', "trailing": b'{"url": "https://a.example/b"} x', "two": b"{}{}", "comment": b"{/* */}",
    "single quotes": b"{'url': 1}", "no name": b'{: 1}', "a BOM": b"\xef\xbb\xbf{}", "UTF-16": '{"url": "x"}'.encode("utf-16"),
    "not UTF-8": b'{"url": "\xc3\x28"}', "overlong": b'{"url": "\xc0\xaf"}', "a lone surrogate": b'{"url": "\\ud800"}',
    "a NUL": b'{"url": "https://a.example/\\u0000"}', "a raw NUL": b'{"url": "\x00"}', "control": b'{"url": "a\nb"}',
    "a huge number": b'{"limit": 1e999}', "a long number": b'{"limit": ' + b"9" * 5000 + b"}", "NaN": b'{"limit": NaN}',
    "deep arrays": b'{"a": ' + b"[" * 30000 + b"]" * 30000 + b"}", "deep objects": b'{"a":' * 10000 + b"1" + b"}" * 10000,
    "twice": b'{"url": "https://a.example/b", "url": "https://a.example/c"}', "many members": json.dumps({f"m{n}": n for n in range(4000)}).encode(),
    "an array": b"[]", "a string": b'"x"', "null": b"null", "nothing": b"", "blanks": b"   ", "prototype": b'{"__proto__": {"admin": true}}',
}


@pytest.mark.parametrize("path", [JOBS, "/api/v1/dead/replay", "/api/v1/schedules"])
def test_a_body_that_is_no_json_of_ours_is_one_clear_refusal(users, frontend, path):
    before = frontend.rss_bytes()
    for name, body in BODIES.items():
        answer = call(users["user"], "POST", path, data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400 and answer.json()["detail"] and len(answer.text) < 1000, (name, answer.status_code, answer.text)
    assert frontend.rss_bytes() < before + 16 * 2**20


def test_a_body_that_is_too_large_is_refused_however_it_comes(users, frontend):
    user = users["user"]
    head = f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token()}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    for size in ("65537", "99999999999", "18446744073709551616", "9" * 40):
        answer = raw(frontend, head + f"Expect: 100-continue\r\nContent-Length: {size}\r\n\r\n")
        assert status_of(answer) in (0, 400, 413), answer  # libmicrohttpd cuts what is no number
    for size in ("-1", "0x10", "1e3", "+5", "1, 2"):
        assert status_of(raw(frontend, head + f"Content-Length: {size}\r\n\r\n")) in (0, 400), size
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    answer = raw(frontend, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 5 + b"0\r\n\r\n")
    assert status_of(answer) == 413, answer
    assert users["user"].get("/status", key="x").status_code == 200


# ---- time

def test_who_sends_slowly_is_cut_off_and_holds_nobody_back(users, frontend):
    user = users["user"]
    head = f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token()}\r\nContent-Type: application/json\r\n"
    begun = {"line": b"GE", "head": head.encode(), "body": head.encode() + b'Content-Length: 1000\r\n\r\n{"url": "',
             "chunks": head.encode() + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"url", "nothing": b""}
    drip = {"line": b"T", "head": b"X-A: b\r\n", "body": b"x", "chunks": b"", "nothing": b""}
    slow = [(kind, dial(frontend)) for kind in begun for _ in range(20)]
    try:
        for kind, connection in slow:
            connection.sendall(begun[kind])
            connection.setblocking(False)

        def ended(connection):
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                while connection.recv(65536):
                    continue
                return True
            return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

        def all_ended():
            nonlocal slow
            assert user.get("/status", key="x").status_code == 200
            going = []
            for kind, connection in slow:
                if not select.select([connection], [], [], 0)[0]:
                    with contextlib.suppress(OSError):
                        connection.send(drip[kind])
                    going.append((kind, connection))
                elif ended(connection):
                    connection.close()
                else:
                    going.append((kind, connection))
            slow = going
            return not slow
        trabajos.wait_for("all are cut off", all_ended, every_s=0.25)
    finally:
        for _, connection in slow:
            connection.close()


@pytest.fixture
def many_jobs(stack, users):
    """As many as no socket's buffers hold."""
    owner, count = users["user2"].claims()["sub"], 60000
    stack.sql("INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at, finished_at, status, attempt)"
              " SELECT gen_random_uuid(), %s, 'user2', 'https://a.example/hostile', 'f', m, m, m, 'Finished', 1 FROM ("
              " SELECT timestamptz '2020-01-01T00:00:00Z' + i * interval '1 ms' AS m FROM generate_series(1, %s) i) made", owner, count)
    yield count
    stack.sql("DELETE FROM trabajos WHERE url = 'https://a.example/hostile'")


def read_list(connection):
    """The JSON of a chunked answer."""
    text = b""
    while b"\r\n0\r\n\r\n" not in text[-20:]:
        part = connection.recv(1 << 20)
        assert part, "it was cut off"
        text += part
    body, at = b"", text.index(b"\r\n\r\n") + 4
    while True:
        end = text.index(b"\r\n", at)
        size = int(text[at:end], 16)
        if not size:
            return json.loads(body)
        body += text[end + 2:end + 2 + size]
        at = end + 4 + size


def test_who_reads_slowly_holds_nobody_back_and_costs_no_memory(users, frontend, many_jobs):
    reader, other = users["user2"], users["user"]
    before = frontend.rss_bytes()
    request = f"GET /all HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {reader.token()}\r\n\r\n".encode()
    slow = [dial(frontend, SO_RCVBUF=4096) for _ in range(10)]
    try:
        for connection in slow:
            connection.sendall(request)
        peak = 0
        for _ in range(50):
            assert other.get("/status", key="x").status_code == 200
            peak = max(peak, frontend.rss_bytes())
            time.sleep(0.01)  # a reader's pace, nothing is awaited
        whole = read_list(slow[0])
        assert len(whole) >= many_jobs and len({row["key"] for row in whole}) == len(whole)
        assert max(peak, frontend.rss_bytes()) - before < len(json.dumps(whole)), "less than one of the ten lists"
        assert len(read_list(slow[1])) == len(whole)
    finally:
        for connection in slow:
            connection.close()
    assert other.get("/status", key="x").status_code == 200

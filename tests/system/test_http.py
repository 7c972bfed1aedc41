"""Every error of the simple interface, and what each answer carries."""

import concurrent.futures
import re
import socket
import urllib.parse
import uuid

import pytest
import requests
import trabajos

NAMESPACE = uuid.UUID("3b826edf-8069-5dae-9965-4c29b068bd85")  # of keys that an Idempotency-Key makes


def problem(answer, status, *words):
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    body = answer.json()
    assert body["status"] == status and body["title"] and body["detail"] and body["type"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    for word in words:
        assert word.lower() in body["detail"].lower(), body
    return body


def test_an_accepted_job_answers_as_the_original_did(user, script):
    answer = user.get("/add", url=script("true").url)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    key = re.fullmatch(r"Trabajo añadido: ([0-9a-f-]{36})\n", answer.content.decode()).group(1)
    assert uuid.UUID(key).version == 7
    assert answer.headers["Location"] == f"/api/v1/trabajos/{key}" and answer.headers["Cache-Control"] == "no-store"
    assert "Trabajos-Ledger" not in answer.headers and answer.headers["X-Request-Id"]


def test_post_takes_a_form_and_head_submits_nothing(stack, user, script):
    url = script("true").url
    assert user.get("/add", method="POST", data={"url": url}).status_code == 200
    assert user.get("/add", method="POST", url=url).status_code == 200
    before = len(user.get("/all").json())
    user.get("/add", method="HEAD", url=url)
    assert len(user.get("/all").json()) == before


@pytest.mark.parametrize("url", [
    "", "nonsense", "https://", "https:///path", "//example.com/x", "https://exa mple.com/x", "https://example.com/x\n", "https://example.com/\x00",
    "https://user:password@example.com/x.git", "https://token@example.com/x.git", "file:///etc/passwd", "ssh://git@example.com/x.git",
    "git@example.com:x.git", "git://example.com/x.git", "ext::sh -c id", "ftp://example.com/x", "javascript:alert(1)",
    "https://localhost/x.git", "https://127.0.0.1/x.git", "https://127.1/x.git", "https://2130706433/x.git", "https://0x7f000001/x.git",
    "https://017700000001/x.git", "https://0/x.git", "https://169.254.169.254/latest/meta-data", "https://10.0.0.1/x.git",
    "https://192.168.1.1/x.git", "https://172.16.0.1/x.git", "https://100.64.0.1/x.git", "https://[::1]/x.git", "https://[::ffff:127.0.0.1]/x.git",
    "https://[::ffff:10.0.0.1]/x.git", "https://[fe80::1%25eth0]/x.git", "https://[fd00::1]/x.git", "https://[64:ff9b::7f00:1]/x.git",
    "https://[2002:7f00:1::]/x.git", "https://224.0.0.1/x.git", "https://255.255.255.255/x.git", "https://localhost./x.git",
    "https://foo.localhost/x.git", "https://intranet/x.git", "https://printer.local/x.git", "https://metadata.google.internal/x.git",
    "http://example.com:8080/x.git", "https://example.com:0/x", "https://example.com:99999/x", "https://example.com/" + "x" * 3000,
    "https://127.0.0.1:1/../x", "https://ex%61mple.com\\@127.0.0.1/x",
])
def test_a_url_that_may_not_be_fetched_is_refused(user, url):
    body = problem(user.get("/add", url=url), 400, "url")
    assert "password" not in body["detail"]


def test_a_url_of_nine_thousand_characters_is_refused(user):
    problem(user.get("/add", url="https://example.com/" + "x" * 9000), 414, "target")
    problem(user.get("/add", method="POST", data={"url": "https://example.com/" + "x" * 9000}), 400, "url")


@pytest.mark.parametrize("parameter, value", [
    ("ref", ".."), ("ref", "a..b"), ("ref", "-x"), ("ref", "--upload-pack=x"), ("ref", "a b"), ("ref", "a\x07"), ("ref", "x" * 300), ("ref", "a.lock"),
    ("priority", "high"), ("priority", "1000"), ("timeout", "0"), ("timeout", "-1"), ("timeout", "soon"), ("retries", "1e9"), ("retries", "-1"),
])
def test_a_bad_parameter_is_named(user, script, parameter, value):
    problem(user.get("/add", url=script("true").url, **{parameter: value}), 400, parameter)


def test_a_missing_or_repeated_parameter_is_named(user):
    problem(user.get("/add"), 400, "url")
    problem(user.get("/status"), 400, "key")
    problem(user.get("/add?url=https://example.com/a&url=https://example.com/b"), 400, "url")


def test_a_form_of_another_type_is_refused_by_its_type(user, script):
    url = script("true").url
    answers = [user.get("/add", method="POST", files={"url": (None, url)}), user.get("/add", method="POST", files={"ref": (None, "main")}, url=url),
               user.get("/add", method="POST", json={"url": url})]
    for answer in answers:
        problem(answer, 415, "application/x-www-form-urlencoded")
        assert answer.headers["Accept"] == "application/x-www-form-urlencoded"
    assert user.get("/add", method="POST", json={}, url=url).status_code == 200


def test_what_is_not_there_and_what_is_not_allowed(user, frontend):
    problem(user.get("/nowhere"), 404)
    answer = user.get("/all", method="DELETE")
    problem(answer, 405)
    assert "GET" in answer.headers["Allow"]
    assert requests.get(frontend.url + "/healthcheck", timeout=5).text == "OK\n"


def test_status_of_no_job_is_an_empty_list(user):
    assert user.get("/status", key=str(uuid.uuid4())).text == "[]"
    assert user.get("/status", key="nonsense").text == "[]"
    assert user.get("/status", key="' OR 1=1 --").text == "[]"


def test_too_large_a_body_or_header_is_refused(user, frontend):
    assert user.get("/add", method="POST", data={"url": "https://example.com/" + "x" * 200_000}).status_code == 413
    assert requests.get(frontend.url + "/all", headers={"X-Filler": "x" * 100_000}, timeout=10).status_code in (413, 431)


def test_a_request_id_of_the_clients_is_kept_if_it_is_harmless(user):
    assert user.get("/status", key="x", headers={"X-Request-Id": "abc-123"}).headers["X-Request-Id"] == "abc-123"
    assert user.get("/status", key="x", headers={"X-Request-Id": "a b\t<script>"}).headers["X-Request-Id"] != "a b\t<script>"


def test_the_same_idempotency_key_gives_the_same_job(stack, users, script):
    url, other = script("true").url, script("true").url
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = users["user"].get("/add", url=url, headers=headers)
    again = users["user"].get("/add", url=url, headers=headers)
    assert first.status_code == 200 and first.text == again.text
    assert uuid.UUID(first.text.split()[-1]).version == 5
    problem(users["user"].get("/add", url=other, headers=headers), 422, "Idempotency-Key")
    assert users["user2"].get("/add", url=url, headers=headers).text != first.text
    assert stack.sql("SELECT count(*) FROM trabajos WHERE key = %s", first.text.split()[-1]) == [(1,)]


def add_beside_another_frontend(stack, user, idempotency_key, url, other):
    """The answer to one that looks the key up before another frontend's insert is seen, and inserts after it."""
    owner = user.claims()["sub"]
    key = str(uuid.uuid5(uuid.uuid5(NAMESPACE, owner), idempotency_key))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trabajos-frontend' AND wait_event_type = 'Lock'"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with stack.connected() as cursor:
            cursor.execute("SELECT trabajos_add(%s::uuid, %s, 'user', false, %s, '{}', 'another', NULL, 0::smallint, NULL, 0, NULL, 1, false,"
                           " now(), now())", (key, owner, other))
            answer = pool.submit(user.get, "/add", url=url, headers={"Idempotency-Key": idempotency_key})
            trabajos.wait_for("the frontend's insert waits", lambda: answer.done() or stack.sql(waits)[0][0])
        return answer.result()


def test_a_key_that_two_frontends_take_at_once_belongs_to_one_body(stack, user, script):
    url, other = script("true").url, script("true").url
    for _ in range(5):
        answer = add_beside_another_frontend(stack, user, str(uuid.uuid4()), url, other)
        if "Trabajos-Ledger" not in answer.headers:
            break  # else the insert was given up before the other one was committed
    problem(answer, 422, "Idempotency-Key")


def test_hostile_text_stays_text(stack, user):
    hostile = "https://example.com/x.git?');DROP TABLE trabajos;--"
    user.get("/add", url=hostile)
    assert stack.sql("SELECT count(*) >= 0 FROM trabajos") == [(True,)]


def read_to_the_end(connection):
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_a_slow_client_is_cut_off_and_others_are_served(user, frontend):
    host, port = urllib.parse.urlsplit(frontend.url).netloc.split(":")
    slow = [socket.create_connection((host, int(port)), timeout=40) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(b"GET /all HTTP/1.1\r\nHost: x\r\nX-")
        assert user.get("/status", key="x").status_code == 200
        # Each ends, within the patience of its reads, without a request that could be answered.
        for connection in slow:
            assert read_to_the_end(connection) == b""
    finally:
        for connection in slow:
            connection.close()


def test_pipelined_requests_are_answered_in_order(user, frontend):
    host, port = urllib.parse.urlsplit(frontend.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        request = "GET /status?key={} HTTP/1.1\r\nHost: x\r\nX-Request-Id: r{}\r\nAuthorization: Bearer " + user.token() + "\r\n{}\r\n"
        connection.sendall("".join(request.format("x", n, "Connection: close\r\n" if n == 9 else "") for n in range(10)).encode())
        received = read_to_the_end(connection)
    assert re.findall(rb"X-Request-Id: r(\d)", received) == [str(n).encode() for n in range(10)]

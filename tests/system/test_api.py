"""/api/v1: submit with all options, look, cancel, replay, dead letters; another's job is one that does not exist."""

import concurrent.futures
import json
import random
import time
import uuid

import pytest
import requests

import trabajos

JOBS = "/api/v1/trabajos"
DEAD = "/api/v1/dead"
NEVER = "while [ ! -e /never ]; do sleep 0.05; done"


@pytest.fixture(scope="module", autouse=True)
def nothing_left(stack, users):
    """Jobs of these tests that would wait for an hour, or for ever, are cancelled at the end."""
    yield
    for (key,) in stack.sql("SELECT key FROM delayed"):
        act(users["admin"], key, "cancel")


def call(user, method, path, body=None, headers=None, **params):
    user.token()
    return user.session.request(method, user.url + path, params=params, json=body, headers=headers, timeout=30)


def twin(user):
    """The same somebody, for another thread."""
    other = trabajos.User(user.stack, user.url, user.name)
    other.session.headers["Authorization"] = "Bearer " + user.token()
    other.renewed = user.renewed
    return other


def post(user, url, headers=None, **members):
    return call(user, "POST", JOBS, {"url": url, **members}, headers)


def submit(user, url, **members):
    answer = post(user, url, **members)
    assert answer.status_code == 202, answer.text
    return answer.json()["key"]


def job(user, key):
    answer = call(user, "GET", f"{JOBS}/{key}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def act(user, key, what):
    return call(user, "POST", f"{JOBS}/{key}/{what}")


def problem(answer, status, *words):
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    body = answer.json()
    assert body["status"] == status and body["request_id"] == answer.headers["X-Request-Id"]
    for word in words:
        assert word.lower() in body["detail"].lower(), body
    return body


def pages(user, path, **params):
    """Every item, page by page along Link."""
    answer = call(user, "GET", path, **params)
    items = []
    while True:
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert "limit" not in params or len(page) <= params["limit"]
        items += page
        following = answer.links.get("next")
        if not following:
            return items
        answer = call(user, "GET", following["url"])


def visible(stack, key):
    return stack.sql("SELECT status FROM resultados WHERE key = %s", key)


def make_dead(stack, user, url, code, blame):
    """A dead letter without the time that its attempts would take; nobody works meanwhile."""
    key = submit(user, url, retries=1)
    stack.sql("""
        WITH q AS (DELETE FROM queue WHERE key = %s RETURNING key), t AS (
            UPDATE trabajos t SET status = 'Failed', attempt = 2, user_failures = 2, finished_at = now(), execution_ms = 1,
                outcome = jsonb_build_object('code', %s::text, 'blame', %s::text)
            FROM q WHERE t.key = q.key RETURNING t.key, t.owner, t.usuario, t.outcome
        ), a AS (
            INSERT INTO attempts (key, attempt, worker, owner, finished_at, outcome)
            SELECT key, n, 'w', owner, now(), outcome FROM t, generate_series(1, 2) n
        ), r AS (INSERT INTO resultados (usuario, key, status) SELECT usuario, key::text, 'Failed' FROM t)
        INSERT INTO dead_letters (key, owner) SELECT key, owner FROM t""", key, code, blame)
    return key


# ---- submitting

def test_a_job_with_all_that_it_may_ask_for_runs_and_is_told_whole(stack, user, worker, script):
    repository = script("echo $SECRET; exit 3")
    asked = {"ref": "main", "priority": 5, "timeout_s": 60, "retries": 0, "run_after": 0, "concurrency_key": "deploy", "concurrency_limit": 2,
             "concurrency_policy": "queue", "labels": {"team": "a", "ñ": "ü"}, "reuse": False}
    answer = post(user, repository.url, env={"SECRET": "hunter2"}, **asked)
    assert answer.status_code == 202 and answer.headers["Content-Type"] == "application/json"
    told = answer.json()
    assert uuid.UUID(told["key"]).version == 7 and answer.headers["Location"] == f"{JOBS}/{told['key']}"
    assert told == {**asked, "url": repository.url, "usuario": "user", "status": "Queued", "key": told["key"], "env": {"SECRET": None}}
    assert user.await_end(told["key"]) == "Failed"
    whole = call(user, "GET", answer.headers["Location"])
    assert "hunter2" not in whole.text and "hunter2" not in answer.text and user.log(told["key"]) == "hunter2\n"
    whole = whole.json()
    assert {name: whole[name] for name in asked} == asked and whole["env"] == {"SECRET": None}
    assert whole["status"] == "Failed" and whole["commit"] == repository.commit and whole["plan"]["kind"] == "main.sh"
    assert whole["outcome"]["code"] == "exit" and whole["outcome"]["exit_code"] == 3 and whole["outcome"]["blame"] == "user"
    assert whole["attempt"] == 1 and whole["failures"] == {"platform": 0, "user": 1} and not whole["dead"] and whole["waiting"] is None
    assert whole["wait_ms"] >= 0 and whole["execution_ms"] >= 0 and whole["limits"]["timeout_s"] == 60 and whole["isolation"]
    assert whole["posted_at"] <= whole["claimed_at"] <= whole["finished_at"] and whole["finished_at"].endswith("Z")
    [attempt] = whole["attempts"]
    assert attempt["attempt"] == 1 and attempt["worker"] and attempt["outcome"] == whole["outcome"]
    assert attempt["commit"] == repository.commit and attempt["started_at"] <= attempt["finished_at"]
    assert attempt["times_us"]["run"] > 0 and attempt["peak_memory_bytes"] == whole["peak_memory_bytes"]


def test_an_earlier_result_is_taken_by_who_asks_for_it(users, script, worker):
    user, repository = users["user"], script("echo ran $WHO")
    first = submit(user, repository.url, reuse=True, env={"WHO": "me"})
    assert user.await_end(first) == "Finished" and user.log(first) == "ran me\n"
    second = user.await_end(user.add(repository.url, reuse="true"))  # another environment
    assert second == "Finished"
    third = submit(user, repository.url, reuse=True, env={"WHO": "me"})
    assert user.await_end(third) == "Finished"
    whole = call(user, "GET", f"{JOBS}/{third}").json()
    assert whole["reuse"] is True and whole["reused_from"] == first and whole["commit"] == repository.commit
    assert whole["outcome"]["code"] == "ok" and whole["outcome"]["exit_code"] == 0 and first in whole["outcome"]["message"]
    assert user.log(third) == "" and whole["attempts"][0]["reused_from"] == first
    for asker, asked in ((user, {"env": {"WHO": "me"}}), (users["user2"], {"reuse": True, "env": {"WHO": "me"}})):
        key = submit(asker, repository.url, **asked)
        assert asker.await_end(key) == "Finished" and asker.log(key) == "ran me\n"
        assert call(asker, "GET", f"{JOBS}/{key}").json()["reused_from"] is None


def test_an_administrators_job_is_marked_so(stack, users, script):
    url = script("true").url
    for name in ("admin", "user"):
        keys = [submit(users[name], url, run_after=3600), users[name].add(url, run_after="3600")]
        assert stack.sql("SELECT DISTINCT admin FROM trabajos WHERE key = ANY (%s::uuid[])", keys) == [(name == "admin",)]


def test_equal_jobs_with_an_idempotency_key_are_one_however_they_came(users, script):
    user, headers = users["user"], {"Idempotency-Key": str(uuid.uuid4())}
    url = script("true").url
    added = user.get("/add", url=url, priority="3", ref="main", run_after="3600", headers=headers)
    key = added.text.split()[-1]
    again = post(user, url, headers, run_after=3600, ref="main", priority=3)
    assert again.status_code == 202 and again.json()["key"] == key and again.json()["waiting"]["reason"] == "delayed", again.text
    assert again.headers["Location"] == added.headers["Location"]
    act(user, key, "cancel")
    assert post(user, url, headers, run_after=3600, ref="main", priority=3).json()["status"] == "Cancelled"
    problem(post(user, url, headers, priority=4), 422, "Idempotency-Key")
    assert post(users["user2"], url, headers, run_after=3600).json()["key"] != key
    problem(post(user, url, {"Idempotency-Key": "ñ ".encode().decode("latin-1")}), 400, "Idempotency-Key")


@pytest.mark.parametrize("members, word", [
    ({}, "url"), ({"url": 7}, "url"), ({"url": "https://127.0.0.1/x.git"}, "url"), ({"ref": "a..b"}, "ref"), ({"priority": "high"}, "priority"),
    ({"priority": 101}, "priority"), ({"timeout_s": 0}, "timeout_s"), ({"retries": -1}, "retries"), ({"retries": 1.5}, "retries"),
    ({"run_after": "soon"}, "run_after"), ({"run_after": -1}, "run_after"), ({"concurrency_key": ""}, "concurrency_key"),
    ({"concurrency_limit": 0}, "concurrency_limit"), ({"concurrency_policy": "never"}, "concurrency_policy"), ({"labels": []}, "labels"),
    ({"labels": {"a": 1}}, "labels"), ({"env": {"PATH": "/"}}, "env"), ({"env": {"A": 1}}, "env"), ({"key": "mine"}, "unknown member key"),
    ({"usuario": "admin"}, "unknown member usuario"), ({"reuse": 1}, "reuse"),
])
def test_a_bad_member_is_named(user, script, members, word):
    url = {} if "url" in members or not members else {"url": script("true").url}
    problem(call(user, "POST", JOBS, {**url, **members}), 400, word)


@pytest.mark.parametrize("path", [JOBS, DEAD + "/replay"])
@pytest.mark.parametrize("body, content, status, word", [
    (b"{", "application/json", 400, "line 1"), (b'{"url": "x", "url": "y"}', "application/json", 400, "duplicate"),
    (b"", "application/json", 400, "empty"), (b"[]", "application/json", 400, "object"), (b"null", "application/json", 400, "object"),
    (b'{"a": "\xff"}', "application/json", 400, "line 1"), (b"{}", "text/plain", 415, "application/json"), (b"{}", None, 415, "application/json"),
    (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "application/json", 400, "body"),
    (b'{"a": "' + b"x" * 70000 + b'"}', "application/json", 413, "bytes"), (b"url=x", "application/x-www-form-urlencoded", 415, "application/json"),
])
def test_a_bad_body_is_refused(user, path, body, content, status, word):
    user.token()
    headers = {"Content-Type": content} if content else {}
    problem(user.session.post(user.url + path, data=body, headers=headers, timeout=30), status, word)


def test_a_whole_number_may_be_written_with_a_point(user, script):
    answer = post(user, script("true").url, priority=3.0, timeout_s=6e1, run_after=3600.0)
    assert answer.status_code == 202 and answer.json()["priority"] == 3 and answer.json()["timeout_s"] == 60, answer.text
    act(user, answer.json()["key"], "cancel")


@pytest.mark.parametrize("moment", ["soon", "-1", "2026-13-01T00:00:00Z", "1e3", "99999999999"])
def test_a_bad_moment_for_add_is_named(user, script, moment):
    problem(user.get("/add", url=script("true").url, run_after=moment), 400, "run_after")


def test_submissions_are_limited_together_however_they_come(stack, script):
    tight = trabajos.frontend(stack, "tight", RATE_PER_S=1, RATE_BURST=2)
    url = script("true").url
    with trabajos.running(tight):
        user = trabajos.User(stack, tight.url, "user")

        def refused(send):
            answer = send()
            return [answer] if answer.status_code == 429 else None  # an answer that tells of an error is false by itself
        for send in (lambda: post(user, url, run_after=3600), lambda: user.get("/add", url=url, run_after="3600")):
            [answer] = trabajos.wait_for("a refusal", lambda send=send: refused(send), every_s=0)
            problem(answer, 429, "too many")
            assert int(answer.headers["Retry-After"]) >= 1


# ---- looking

def test_a_list_goes_by_pages_and_filters(users, script):
    user, url, mark = users["user"], script("true").url, uuid.uuid4().hex
    keys = [submit(user, url, run_after=3600, labels={"mark": mark, "n": str(n % 2)}) for n in range(5)]
    submit(users["user2"], url, run_after=3600, labels={"mark": mark})
    for limit in (1, 2, 5, 1000):
        assert [row["key"] for row in pages(user, JOBS, label=f"mark={mark}", limit=limit)] == keys
    act(user, keys[0], "cancel")
    assert [row["key"] for row in pages(user, JOBS, label=f"mark={mark}", status="Cancelled")] == keys[:1]
    assert [row["key"] for row in pages(user, JOBS, label=f"mark={mark}", status="Queued,Running", limit=3)] == keys[1:]
    assert pages(user, JOBS, label="mark=none") == [] and pages(user, JOBS, label=mark) == []
    assert set(keys) <= {row["key"] for row in pages(user, JOBS, label="mark", limit=100)}
    assert [row["key"] for row in call(user, "GET", JOBS, after=keys[3], label=f"mark={mark}").json()] == keys[4:]
    row = pages(user, JOBS, label=f"mark={mark}")[1]
    assert row["status"] == "Queued" and row["labels"]["mark"] == mark and row["url"] == url and row["usuario"] == "user"
    assert [row["key"] for row in pages(users["admin"], JOBS, label=f"mark={mark}", usuario="user", limit=2)] == keys
    assert len(pages(users["admin"], JOBS, label=f"mark={mark}", usuario="*", limit=4)) == 6
    assert pages(users["admin"], JOBS, label=f"mark={mark}") == []


def test_a_list_is_searched_by_a_text_that_stands_anywhere(users, script):
    user, url, mark = users["user"], script("true").url, uuid.uuid4().hex
    labels = ({"Ñandú": mark}, {mark: "100% x_y"}, {"n": mark + '"\\'}, {})
    keys = [submit(user, url, run_after=3600, labels=each) for each in labels]
    submit(users["user2"], url, run_after=3600, labels={"mark": mark})

    def found(text, who=user, **params):
        return [row["key"] for row in pages(who, JOBS, text=text, **params)]
    assert found(mark) == found(mark.upper()) == keys[:3] and found(mark[3:20], limit=1, order="desc") == keys[2::-1]
    assert found("ñANDÚ", label=f"Ñandú={mark}") == keys[:1] and found(keys[3].upper()) == found(keys[3][4:]) == keys[3:]
    assert set(keys) <= set(found(url.rpartition("/")[2].upper())) and found(mark, users["admin"], usuario="user") == keys[:3]
    assert len(found(mark, users["admin"], usuario="*")) == 4 and found(mark, users["admin"]) == []
    # no character is special, and what only JSON has is in no label
    assert found("100% X_", label=mark) == keys[1:2] and found("%", label=mark) == keys[1:2] and found("%x", label=mark) == []
    assert found("100__", label=mark) == found(f'{mark}"', label=mark) == found(f'{mark}": "100') == found("'") == []
    assert found(f'{mark}"\\') == found(f'{mark}"') == keys[2:3]
    act(user, keys[0], "cancel")
    assert found(mark, status="Queued") == keys[1:3] and found(mark, status="Cancelled") == keys[:1]
    assert found(mark, until="2020-01-01T00:00:00Z") == [] and found(mark, since="2020-01-01T00:00:00Z", after=keys[1]) == keys[2:3]


def posted(stack, keys):
    """Moments of the jobs, made so that they are apart, and two of them equal."""
    moments = [f"2020-01-01T00:00:0{n // 2}.{n % 2}00Z" for n in (0, 1, 2, 2, 3)]
    for key, moment in zip(keys, moments):
        stack.sql("UPDATE trabajos SET posted_at = %s WHERE key = %s", moment, key)
    keys[2:4] = sorted(keys[2:4])
    return moments


def test_a_list_goes_either_way_and_between_two_moments(stack, users, script):
    user, url, mark = users["user"], script("true").url, uuid.uuid4().hex
    keys = [submit(user, url, run_after=3600, labels={"mark": mark}) for n in range(5)]
    moments = posted(stack, keys)

    def found(who=user, **params):
        return [row["key"] for row in pages(who, JOBS, label=f"mark={mark}", **params)]
    for limit in (1, 2, 1000):
        assert found(limit=limit, order="asc") == keys and found(limit=limit, order="desc") == keys[::-1]
        assert found(users["admin"], limit=limit, order="desc", usuario="user") == keys[::-1]
        assert found(users["admin"], limit=limit, order="desc", usuario="*") == keys[::-1]
        assert found(limit=limit, since=moments[1], until=moments[4]) == keys[1:4]
        assert found(limit=limit, since=moments[1], until=moments[4], order="desc") == keys[3:0:-1]
    assert found(since=moments[4]) == keys[4:] and found(until=moments[0]) == [] and found(until=moments[1], order="desc") == keys[:1]
    assert found(since="2020-01-01T01:00:00.1+01:00", until=moments[2]) == keys[1:2] and found(since=moments[3], until=moments[1]) == []
    assert found(after=keys[2], order="desc") == keys[1::-1] and found(after=keys[2], since=moments[4]) == keys[4:]


def test_a_page_goes_on_where_its_last_job_was_removed(stack, users, script):
    user, url, mark = users["user"], script("true").url, uuid.uuid4().hex
    keys = [submit(user, url, run_after=3600, labels={"mark": mark}) for n in range(3)]
    posted(stack, keys)
    for path, mine in ((JOBS, {"label": f"mark={mark}", "since": "2020-01-01T00:00:00Z"}), ("/all", {})):
        key = submit(user, url, run_after=3600, labels={"mark": mark})
        stack.sql("UPDATE trabajos SET posted_at = '2020-01-01T00:00:00Z' WHERE key = %s", key)
        answer = call(user, "GET", path, limit=1, **mine)
        while answer.json()[0]["key"] != key:
            answer = call(user, "GET", answer.links["next"]["url"])
        act(user, key, "cancel")
        stack.sql("DELETE FROM trabajos WHERE key = %s", key)
        following = call(user, "GET", answer.links["next"]["url"])
        assert following.status_code == 200 and len(following.json()) == 1, following.text
        problem(call(user, "GET", path, limit=1, after=key), 400, "after")


@pytest.mark.parametrize("params, status, word", [
    ({"limit": "0"}, 400, "limit"), ({"limit": "1001"}, 400, "limit"), ({"limit": "x"}, 400, "limit"), ({"after": "x"}, 400, "after"),
    ({"after": str(uuid.uuid4())}, 400, "after"), ({"status": "queued"}, 400, "status"), ({"status": "Queued,"}, 400, "status"),
    ({"status": ""}, 400, "status"), ({"text": ""}, 400, "text"), ({"text": "ñ" * 101}, 400, "1 to 100"), ({"text": "a\0b"}, 400, "text"),
    ({"label": "=x"}, 400, "label"), ({"label": ""}, 400, "label"), ({"usuario": "*"}, 403, "admin"),
    ({"limit": ["1", "2"]}, 400, "limit"), ({"after": "12." + str(uuid.uuid4()) + "x"}, 400, "after"), ({"order": "newest"}, 400, "order"),
    ({"since": "yesterday"}, 400, "since"), ({"until": "2020-13-01T00:00:00Z"}, 400, "until"),
    ({"statuss": "Failed"}, 400, "statuss"), ({"Limit": "1"}, 400, "Limit"),
    ({"after": "99999999999999999." + str(uuid.uuid4())}, 400, "after"),
])
def test_a_bad_parameter_of_a_list_is_named(user, params, status, word):
    problem(call(user, "GET", JOBS, **params), status, word)
    if word in ("limit", "after", "admin"):
        problem(call(user, "GET", DEAD, **params), status, word)


def test_who_waits_is_told_why(stack, users, no_worker, script):
    user, url, shared = users["user2"], script("true").url, uuid.uuid4().hex
    stack.sql("DELETE FROM workers")  # one that was killed a moment ago
    first, second = (submit(user, url) for _ in range(2))
    waiting = [job(user, key)["waiting"] for key in (first, second)]
    assert waiting[1]["reason"] == "no_worker" and waiting[1]["own_position"] == waiting[0]["own_position"] + 1
    assert waiting[1]["position"] > waiting[0]["position"] and {"users", "eta_s", "position_estimated"} <= waiting[1].keys()
    delayed = job(user, submit(user, url, run_after=3600))
    assert (delayed["waiting"]["reason"], delayed["waiting"]["until"]) == ("delayed", delayed["eligible_at"])
    moment = job(user, submit(user, url, run_after="2100-01-01T00:00:00+01:00"))
    assert moment["waiting"]["until"] == "2099-12-31T23:00:00.000Z"
    holds, waits, last = (submit(user, url, concurrency_key=shared) for _ in range(3))
    assert job(user, holds)["waiting"]["reason"] == "no_worker"
    assert {"reason": "concurrency_key", "position": 1, "holding": 1, "limit": 1}.items() <= job(user, waits)["waiting"].items()
    assert job(user, last)["waiting"]["position"] == 2
    assert act(user, holds, "cancel").json()["status"] == "Cancelled"
    assert job(user, waits)["waiting"]["reason"] == "no_worker" and job(user, last)["waiting"]["position"] == 1


def test_who_waits_for_their_own_jobs_or_their_limit_is_told_so(stack, users, no_worker, script):
    user, url = users["user2"], script(NEVER).url
    limited = trabajos.frontend(stack, "limited", USER_RUNNING=1)
    with trabajos.running(trabajos.worker(stack, "single", WORKER_SLOTS=1), limited):
        at_limit = trabajos.User(stack, limited.url, "user2")
        running = submit(user, url)
        trabajos.wait_for("the first runs", lambda: job(user, running)["status"] == "Running")
        first, second = (submit(user, url) for _ in range(2))
        assert job(user, first)["waiting"]["reason"] == "no_free_slot" and job(user, first)["waiting"]["running"] == 1
        assert job(user, second)["waiting"]["reason"] == "own_jobs"
        assert job(at_limit, first)["waiting"]["reason"] == "user_limit"
        for key in (first, second, running):
            act(user, key, "cancel")
        user.await_end(running)


def test_the_workers_are_for_administrators(users, worker):
    [one] = trabajos.wait_for("the worker is listed", lambda: [
        w for w in call(users["admin"], "GET", "/api/v1/workers").json() if w["pid"] == worker.process.pid])
    assert one["slots"] == 2 and one["draining"] is False and one["isolation"] and one["seen_at"] >= one["started_at"]
    problem(call(users["user"], "GET", "/api/v1/workers"), 403, "admin")


# ---- whose it is

@pytest.mark.parametrize("method, rest", [("GET", ""), ("POST", "/cancel"), ("POST", "/replay")])
def test_anothers_job_is_one_that_does_not_exist(stack, users, script, method, rest):
    theirs = submit(users["user"], script("true").url, run_after=3600)

    def told(key):
        answer = call(users["user2"], method, f"{JOBS}/{key}{rest}")
        return problem(answer, 404), {k: v for k, v in answer.headers.items() if k not in ("X-Request-Id", "Date")}
    bodies = [told(key) for key in (theirs, str(uuid.uuid4()), "nonsense", "' OR 1=1 --", "x" * 300)]
    for body, headers in bodies:
        body.pop("request_id")
        assert (body, headers) == bodies[0]
    assert job(users["user"], theirs)["status"] == "Queued"
    assert call(users["admin"], method, f"{JOBS}/{theirs}{rest}").status_code in (200, 409)
    assert call(users["user"], method, f"{JOBS}/{theirs.upper()}{rest}").status_code in (200, 409)


def test_every_call_needs_a_token_and_its_own_method(user):
    key = str(uuid.uuid4())
    for allowed, path in (("POST, GET, HEAD, OPTIONS", JOBS), ("GET, HEAD, OPTIONS", f"{JOBS}/{key}"), ("POST, OPTIONS", f"{JOBS}/{key}/cancel"),
                          ("POST, OPTIONS", f"{JOBS}/{key}/replay"), ("GET, HEAD, OPTIONS", DEAD), ("POST, OPTIONS", f"{DEAD}/replay"),
                          ("GET, HEAD, OPTIONS", "/api/v1/workers")):
        answer = call(user, "DELETE", path)
        problem(answer, 405)
        assert answer.headers["Allow"] == allowed
        method = allowed.split(",")[0]
        problem(requests.request(method, user.url + path, timeout=10), 401)
    problem(call(user, "GET", "/api/v1/nothing"), 404)
    problem(call(user, "GET", f"{JOBS}/{key}/nothing"), 404)
    head = call(user, "HEAD", JOBS, limit="1")
    assert head.status_code == 200 and head.content == b"" and head.headers["Content-Type"] == "application/json"


# ---- cancel

def test_a_queued_job_is_cancelled_at_once_and_again(stack, users, no_worker, script):
    user, url = users["user"], script("true").url
    for asked in ({}, {"run_after": 3600}, {"concurrency_key": uuid.uuid4().hex}):
        key = submit(user, url, **asked)
        for _ in range(2):
            answer = act(user, key, "cancel")
            assert (answer.status_code, answer.json()) == (200, {"key": key, "status": "Cancelled", "cancel": "done"})
        whole = job(user, key)
        assert whole["outcome"]["code"] == "cancelled" and whole["attempts"] == [] and whole["finished_at"] and visible(stack, key) == [("Cancelled",)]
        for table in ("queue", "delayed", "concurrency", "attempts"):
            assert stack.sql(f"SELECT count(*) FROM {table} WHERE key = %s", key) == [(0,)]


def test_a_running_job_is_told_and_ends(stack, user, worker, script):
    repository = script("trap 'exit 0' TERM; " + NEVER)
    key = submit(user, repository.url, timeout_s=60)
    known = trabajos.wait_for("its plan", lambda: (lambda whole: whole["plan"] and whole)(job(user, key)))
    assert known["status"] == "Running" and known["commit"] == repository.commit and known["plan"]["command"] == "./main.sh"
    assert known["limits"]["timeout_s"] == 60 and known["output"] is None and known["attempts"][0]["commit"] == repository.commit
    assert next(row for row in pages(user, JOBS, status="Running") if row["key"] == key)["commit"] == repository.commit
    for _ in range(2):
        answer = act(user, key, "cancel").json()
        assert answer in ({"key": key, "status": "Running", "cancel": "requested"}, {"key": key, "status": "Cancelled", "cancel": "done"})
    assert user.await_end(key) == "Cancelled" and visible(stack, key) == [("Cancelled",)]
    assert job(user, key)["cancel_requested_at"] and act(user, key, "cancel").json()["cancel"] == "done"


def test_a_cancel_that_comes_too_late_says_what_became_of_the_job(user, worker, script):
    key = submit(user, script("true").url)
    assert user.await_end(key) == "Finished"
    assert act(user, key, "cancel").json() == {"key": key, "status": "Finished", "cancel": "too_late"}
    assert job(user, key)["status"] == "Finished"


def test_a_cancel_that_races_with_the_end_has_one_winner_and_says_which(stack, user, worker, script):
    url, dice = script("true").url, random.Random(4)
    keys = [submit(user, url) for _ in range(24)]

    def cancel(key):
        time.sleep(dice.random() * 2)  # not for an event: the moment is the dice's
        return act(twin(user), key, "cancel").json()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(cancel, keys))
    for key, answer in zip(keys, answers):
        status = user.await_end(key)
        assert visible(stack, key) == [(status,)]
        if answer["cancel"] != "requested":
            assert answer["status"] == status and answer["cancel"] == ("done" if status == "Cancelled" else "too_late")
        assert status in ("Cancelled", "Finished")


# ---- replay

def test_a_replay_replaces_the_result_and_keeps_key_fence_and_history(stack, user, worker, script):
    key = submit(user, script("echo $TRABAJO_ATTEMPT; [ $TRABAJO_ATTEMPT = 2 ]").url)
    assert user.await_end(key) == "Failed" and visible(stack, key) == [("Failed",)]
    answer = act(user, key, "replay")
    assert (answer.status_code, answer.json()) == (202, {"key": key, "status": "Queued"}) and answer.headers["Location"] == f"{JOBS}/{key}"
    assert user.await_end(key) == "Finished" and visible(stack, key) == [("Finished",)]
    whole = job(user, key)
    assert whole["attempt"] == 2 and whole["failures"] == {"platform": 0, "user": 0}
    assert [(a["attempt"], a["outcome"]["code"]) for a in whole["attempts"]] == [(1, "exit"), (2, "ok")]


def test_a_replayed_job_has_no_result_until_it_ends_again(stack, users, no_worker, script):
    user = users["user"]
    key = submit(user, script("true").url, concurrency_key=uuid.uuid4().hex)
    problem(act(user, key, "replay"), 409, "Queued")
    act(user, key, "cancel")
    assert act(user, key, "replay").status_code == 202
    problem(act(user, key, "replay"), 409, "Queued")
    whole = job(user, key)
    assert whole["status"] == "Queued" and whole["outcome"] is None and whole["finished_at"] is None and whole["cancel_requested_at"] is None
    assert visible(stack, key) == [] and stack.sql("SELECT count(*) FROM outbox WHERE key = %s", key) == [(0,)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        act(user, key, "cancel")
        answers = list(pool.map(lambda _: act(twin(user), key, "replay").status_code, range(8)))
    assert sorted(answers) == [202] + [409] * 7


# ---- dead letters

def test_a_job_whose_retries_are_used_up_is_a_dead_letter_until_it_is_replayed(user, worker, script):
    key = submit(user, script("[ $TRABAJO_ATTEMPT -gt 2 ]").url, retries=1)
    assert user.await_end(key) == "Failed" and job(user, key)["dead"]
    [letter] = [one for one in pages(user, DEAD) if one["key"] == key]
    assert letter["outcome"]["blame"] == "user" and letter["failures"] == {"platform": 0, "user": 2} and letter["died_at"]
    assert [a["outcome"]["code"] for a in letter["attempts"]] == ["exit", "exit"]
    assert call(user, "POST", DEAD + "/replay", {"keys": [key]}).json() == {"replayed": 1, "more": False, "next": None}
    assert user.await_end(key) == "Finished" and not job(user, key)["dead"]
    assert key not in [one["key"] for one in pages(user, DEAD)]
    assert [a["attempt"] for a in job(user, key)["attempts"]] == [1, 2, 3]


def test_dead_letters_are_listed_and_replayed_by_filter_only_to_whom_they_belong(stack, users, no_worker, script):
    user, other, admin, url = users["user"], users["user2"], users["admin"], script("true").url
    since = stack.sql("SELECT now()")[0][0].isoformat()
    mine = [make_dead(stack, user, url, *kind) for kind in [("exit", "user")] * 3 + [("lost", "platform")] * 2]
    theirs = make_dead(stack, other, url, "exit", "user")

    def dead(somebody, **params):
        return [one["key"] for one in pages(somebody, DEAD, **params) if one["key"] in [*mine, theirs]]

    def replay(somebody, **body):
        answer = call(somebody, "POST", DEAD + "/replay", body)
        assert answer.status_code == 200, answer.text
        return answer.json()["replayed"], answer.json()["more"]
    assert dead(user, limit=2) == mine and dead(other) == [theirs] and dead(admin) == []
    assert dead(admin, usuario="*", limit=2) == [*mine, theirs] and dead(admin, usuario="user", limit=4) == mine
    assert replay(user, keys=[theirs, str(uuid.uuid4())]) == (0, False)
    assert replay(user, filter={"code": "memory", "after": since}) == (0, False)
    assert replay(user, filter={"before": "2000-01-01T00:00:00Z"}) == (0, False)
    assert replay(user, filter={"code": "exit", "after": since}, limit=2) == (2, True)
    assert {key for key in mine if job(user, key)["status"] == "Queued"} == set(mine[:2])
    assert replay(user, keys=mine) == (3, False) and replay(user, keys=mine) == (0, False)
    assert job(other, theirs)["dead"] and replay(admin, filter={"after": since}) == (0, False)
    assert replay(admin, filter={"usuario": "user2", "blame": "user", "after": since}) == (1, False)
    assert job(other, theirs)["status"] == "Queued" and job(other, theirs)["attempt"] == 2
    for key in [*mine, theirs]:
        assert visible(stack, key) == [] and stack.sql("SELECT count(*) FROM queue WHERE key = %s", key) == [(1,)]
        act(admin, key, "cancel")


def make_many_dead(stack, user):
    """The URL of 500 dead letters, half of them for want of memory."""
    url = f"https://bulk-{uuid.uuid4()}.example.org/r.git"
    stack.sql("INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at, finished_at, status, attempt, outcome)"
              " SELECT gen_random_uuid(), %s, 'user2', %s, 'f', now(), now(), now(), 'Failed', 1,"
              "  jsonb_build_object('code', CASE WHEN n %% 2 = 0 THEN 'memory' ELSE 'disk' END, 'blame', 'limit') FROM generate_series(1, 500) n",
              user.claims()["sub"], url)
    stack.sql("INSERT INTO dead_letters (key, owner, died_at) SELECT key, owner, now() FROM trabajos WHERE url = %s", url)
    return url


def test_more_than_a_batch_is_replayed_by_one_call(stack, users, no_worker):
    user = users["user2"]
    url = make_many_dead(stack, user)
    answer = call(user, "POST", DEAD + "/replay", {"filter": {"code": "memory"}, "limit": 230}).json()
    assert answer["replayed"] == 230 and answer["more"] and answer["next"]
    answer = call(user, "POST", DEAD + "/replay", {"filter": {"code": "memory"}, "after": answer["next"]}).json()
    assert answer == {"replayed": 20, "more": False, "next": None}
    assert stack.sql("SELECT status, outcome ->> 'code', count(*) FROM trabajos WHERE url = %s GROUP BY 1, 2 ORDER BY 1", url) == [
        ("Failed", "disk", 250), ("Queued", None, 250)]
    stack.sql("DELETE FROM trabajos WHERE url = %s", url)


def test_a_bulk_replay_that_fails_on_its_way_says_what_it_did_and_where_to_go_on(stack, users, no_worker):
    user = users["user2"]
    url = make_many_dead(stack, user)

    def replay(**more):
        return call(twin(user), "POST", DEAD + "/replay", {"filter": {"code": "memory"}, **more}).json()
    with stack.connected() as other, concurrent.futures.ThreadPoolExecutor(1) as pool:
        other.execute("SELECT FROM trabajos WHERE key = (SELECT key FROM trabajos WHERE url = %s AND outcome ->> 'code' = 'memory'"
                      " ORDER BY key OFFSET 150 LIMIT 1) FOR UPDATE", (url,))
        other.execute("SELECT pg_backend_pid()")
        locker, = other.fetchone()
        begun = pool.submit(replay)
        trabajos.wait_for("the second batch waits", lambda: stack.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))", locker))
        answer = begun.result()
    assert answer["replayed"] == 100 and answer["more"] and answer["next"]
    trabajos.wait_for("the rest", lambda: replay(after=answer["next"]) == {"replayed": 150, "more": False, "next": None})
    assert stack.sql("SELECT count(*) FROM trabajos WHERE url = %s AND status = 'Queued'", url) == [(250,)]
    stack.sql("DELETE FROM trabajos WHERE url = %s", url)


def test_bulk_replays_at_the_same_time_replay_each_letter_once(stack, users, no_worker, script):
    user, url, shared = users["user"], script("true").url, [uuid.uuid4().hex for _ in range(3)]
    keys = [make_dead(stack, user, url, "lost", "platform") for _ in range(12)]
    for number, key in enumerate(keys):
        stack.sql("UPDATE trabajos SET concurrency_key = %s WHERE key = %s", shared[number % 3], key)

    def replay(_):
        return call(twin(user), "POST", DEAD + "/replay", {"keys": random.sample(keys, len(keys))}).json()["replayed"]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(replay, range(4))) == len(keys)
    assert stack.sql("SELECT count(*) FILTER (WHERE holds), count(*) FROM concurrency WHERE key = ANY (%s::uuid[])", keys) == [(3, 12)]
    for key in keys:
        assert act(user, key, "cancel").json()["cancel"] == "done"


@pytest.mark.parametrize("body, word", [
    ({}, "either"), ({"keys": [], "filter": {}}, "either"), ({"keys": []}, "keys"), ({"keys": "x"}, "keys"), ({"keys": ["x"]}, "keys[0]"),
    ({"keys": [str(uuid.uuid4()), None]}, "keys[1]"), ({"keys": [str(uuid.uuid4())] * 1001}, "keys"), ({"filter": []}, "filter"),
    ({"filter": {"what": "x"}}, "filter"), ({"filter": {"code": "sad"}}, "code"), ({"filter": {"blame": 1}}, "blame"),
    ({"filter": {"before": "yesterday"}}, "before"), ({"filter": {}, "limit": 0}, "limit"), ({"filter": {}, "limit": 1001}, "limit"),
    ({"filter": {}, "other": 1}, "known"), ({"keys": [str(uuid.uuid4())], "after": "1." + str(uuid.uuid4())}, "known"),
    ({"filter": {}, "after": str(uuid.uuid4())}, "after"), ({"filter": {}, "after": 1}, "after"),
])
def test_a_bad_bulk_replay_is_refused_and_replays_nothing(user, body, word):
    problem(call(user, "POST", DEAD + "/replay", body), 400, word)


def test_anothers_name_in_a_bulk_replay_needs_an_administrator(user):
    problem(call(user, "POST", DEAD + "/replay", {"filter": {"usuario": "user2"}}), 403, "admin")


# ---- without the ledger

def test_what_needs_the_ledger_says_so_while_it_is_away(stack, script):
    lost = trabajos.frontend(stack, "lost", POSTGRES_PORT=trabajos.free_port())
    lost.start(ready=False)
    try:
        trabajos.wait_for("it listens", lambda: requests.get(lost.url + "/healthcheck", timeout=5).status_code == 200)
        user, key = trabajos.User(stack, lost.url, "user"), str(uuid.uuid4())
        for method, path in (("GET", JOBS), ("GET", f"{JOBS}/{key}"), ("POST", f"{JOBS}/{key}/cancel"), ("POST", f"{JOBS}/{key}/replay"), ("GET", DEAD)):
            answer = call(user, method, path)
            problem(answer, 503, "PostgreSQL")
            assert int(answer.headers["Retry-After"]) > 0
        answer = post(user, script("true").url)
        assert answer.status_code == 202 and answer.headers["Trabajos-Ledger"] == "pending" and json.loads(answer.text)["status"] == "Queued"
    finally:
        lost.kill()

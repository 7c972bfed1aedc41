"""Who asked for it is told when a job ends: signed, at least once, by the same id, and at no place where it may not go."""

import base64
import hashlib
import hmac
import json
import threading
import time

import pytest

import trabajos
from receiver import Receiver
from trabajos import Repository, running, wait_for

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def house(stack, receiver, session_worker):
    """A frontend and a worker that may send webhooks to this machine; nobody else works."""
    session_worker.stop()
    allow = {"WEBHOOK_ALLOW": receiver.url + "/"}
    with running(trabajos.frontend(stack, "webhook-front", **allow), trabajos.worker(stack, "webhook-worker", **allow)) as daemons:
        yield daemons
    session_worker.start()


@pytest.fixture(scope="module")
def repository(stack):
    return Repository(stack, "webhook", {"main.sh": "#!/bin/sh\nexit ${CODE:-0}\n"})


@pytest.fixture
def user(stack, house):
    return trabajos.User(stack, house[0].url, "user")


def post(user, url, **members):
    answer = user.get("/api/v1/trabajos", method="POST", headers=JSON, data=json.dumps({"url": url, **members}))
    assert answer.status_code == 202, answer.text
    return answer.json()["key"]


def deliveries(user, key):
    answer = user.get(f"/api/v1/trabajos/{key}/deliveries")
    assert answer.status_code == 200, answer.text
    return answer.json()


def now(stack, key):
    stack.sql("UPDATE webhooks SET next_at = now() WHERE key = %s AND state = 'waiting'", key)


def state(stack, key):
    return [row[0] for row in stack.sql("SELECT state FROM webhooks WHERE key = %s ORDER BY id", key)]


def test_the_end_of_a_job_is_told_signed_and_whole(stack, user, receiver, repository):
    key = post(user, repository.url, labels={"a": "ñ"}, env={"CODE": "3"},
               on_done={"url": receiver.url + "/signed?token=x%20y", "secret": SECRET})
    (headers, body), = wait_for("the webhook", lambda: receiver.at("/signed?token=x%20y"))
    told = json.loads(body)
    assert told["type"] == "trabajo.done" and headers["Content-Type"] == "application/json"
    data = told["data"]
    job = user.get(f"/api/v1/trabajos/{key}").json()
    assert (data["key"], data["status"], data["attempt"], data["labels"]) == (key, "Failed", 1, {"a": "ñ"})
    assert data["outcome"]["exit_code"] == 3 and data["finished_at"] == told["timestamp"] == job["finished_at"]
    assert "env" not in data and SECRET not in body.decode()
    identity, moment = headers["webhook-id"], headers["webhook-timestamp"]
    assert "." not in identity and abs(int(moment) - time.time()) < 300
    expected = hmac.digest(base64.b64decode(SECRET[6:]), f"{identity}.{moment}.".encode() + body, hashlib.sha256)
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    delivered = wait_for("it is noted", lambda: [row for row in deliveries(user, key) if row["status_code"]])
    assert delivered == [{"id": identity, "at": delivered[0]["at"], "try": 1, "status_code": 200, "error": None, "next_at": None}]
    # the secret is shown nowhere
    assert job["on_done"] == {"url": receiver.url + "/signed?token=x%20y", "secret": None}
    for path in (f"/api/v1/trabajos/{key}", "/api/v1/trabajos", f"/api/v1/trabajos/{key}/deliveries"):
        assert SECRET not in user.get(path).text
    answer = user.get("/api/v1/trabajos", method="POST", headers=JSON, data=json.dumps(
        {"url": repository.url, "on_done": {"url": receiver.url + "/echo", "secret": SECRET}}))
    assert answer.json()["on_done"] == {"url": receiver.url + "/echo", "secret": None}


def test_what_fails_is_tried_again_by_the_same_id_and_nothing_is_redirected(stack, user, receiver, repository):
    receiver.answers["/failing"] = [500, 302, 429, 200]
    key = user.add(repository.url, on_done=receiver.url + "/failing")
    for tries in (1, 2, 3):
        wait_for("a try", lambda: any(row["try"] == tries and row["next_at"] for row in deliveries(user, key)))
        assert state(stack, key) == ["waiting"]
        later = stack.sql("SELECT next_at - now() > interval '15 minutes' FROM webhooks WHERE key = %s", key)
        assert later == [(tries == 3,)]
        now(stack, key)
    wait_for("it is delivered", lambda: state(stack, key) == ["delivered"])
    seen = receiver.at("/failing")
    assert len(seen) == 4 and not receiver.at("/elsewhere")
    assert len({headers["webhook-id"] for headers, _ in seen}) == 1 and len({body for _, body in seen}) == 1
    assert "webhook-signature" not in seen[0][0]
    assert [row["status_code"] for row in deliveries(user, key)] == [500, 302, 429, 200]


def test_it_is_given_up_where_nobody_wants_it(stack, user, receiver, repository):
    receiver.answers["/gone"] = [410]
    gone = user.add(repository.url, on_done=receiver.url + "/gone")
    receiver.answers["/never"] = [503, 503]
    never = user.add(repository.url, on_done=receiver.url + "/never")
    wait_for("the first is given up", lambda: state(stack, gone) == ["given_up"])
    wait_for("the second is tried", lambda: any(row["try"] == 1 and row["next_at"] for row in deliveries(user, never)))
    stack.sql("UPDATE webhooks SET tries = 9, next_at = now() WHERE key = %s", never)
    wait_for("the second is given up", lambda: state(stack, never) == ["given_up"])
    assert deliveries(user, never)[-1] == {**deliveries(user, never)[-1], "try": 10, "status_code": 503, "next_at": None}


def test_a_receiver_that_is_not_there_is_said(user, repository, receiver):
    closed = trabajos.free_port()
    # not below what is allowed
    answer = user.get("/add", url=repository.url, on_done=f"http://127.0.0.1:{closed}/")
    assert answer.status_code == 400 and "WEBHOOK_ALLOW" in answer.json()["detail"], answer.text


@pytest.mark.parametrize("on_done", [
    "ftp://example.org/", "https://", "example.org", "https://user:word@example.org/", "https://example.org/a b", "https://localhost/x",
    "https://169.254.169.254/latest", "https://[::1]/", "https://0x7f000001/", "http://example.org:8080/", "https://ex/" + "a" * 2000,
    "https://example.org/\r\nX: y", 7, [], {"secret": SECRET}, {"url": "https://example.org/", "more": 1},
    {"url": "https://example.org/", "secret": "short"}, {"url": "https://example.org/", "secret": "whsec_AAAA"},
    {"url": "https://example.org/", "secret": "whsec_" + "A" * 88}])
def test_what_is_no_webhook_or_leads_to_this_network_is_refused(user, repository, on_done):
    answer = user.get("/api/v1/trabajos", method="POST", headers=JSON, data=json.dumps({"url": repository.url, "on_done": on_done}))
    assert answer.status_code == 400 and "on_done" in answer.json()["detail"], answer.text
    cron = {"name": "webhook", "cron": "@yearly", "url": repository.url, "on_done": on_done}
    assert user.get("/api/v1/schedules", method="POST", headers=JSON, data=json.dumps(cron)).status_code == 400


def test_a_schedules_secret_is_not_shown_either(user, repository, receiver):
    answer = user.get("/api/v1/schedules", method="POST", headers=JSON, data=json.dumps(
        {"name": "webhook", "cron": "@yearly", "url": repository.url, "on_done": {"url": receiver.url + "/cron", "secret": SECRET}}))
    assert answer.status_code == 201 and answer.json()["on_done"] == {"url": receiver.url + "/cron", "secret": None}, answer.text
    assert SECRET not in user.get("/api/v1/schedules/" + answer.json()["id"]).text
    user.get("/api/v1/schedules/" + answer.json()["id"], method="DELETE")


def test_a_job_that_is_cancelled_and_one_that_runs_again_are_told_each_time(stack, user, receiver, repository):
    key = post(user, repository.url, run_after=3600, on_done=receiver.url + "/cancelled")
    assert user.get(f"/api/v1/trabajos/{key}/cancel", method="POST").json()["cancel"] == "done"
    (_, body), = wait_for("the webhook", lambda: receiver.at("/cancelled"))
    assert json.loads(body)["data"]["status"] == "Cancelled"
    assert user.get(f"/api/v1/trabajos/{key}/replay", method="POST").status_code == 202
    events = wait_for("the second one", lambda: len(receiver.at("/cancelled")) == 2 and receiver.at("/cancelled"))
    assert json.loads(events[1][1])["data"]["status"] == "Finished"
    assert events[0][0]["webhook-id"] != events[1][0]["webhook-id"]


def test_slow_receivers_hold_up_nobody(stack, user, receiver, repository):
    hold = threading.Event()
    receiver.answers["/slow"] = [hold] * 200
    # those of one owner, then another's; all at once
    user2 = trabajos.User(stack, user.url, "user2")
    slow = [user.add(repository.url, on_done=receiver.url + "/slow") for _ in range(12)]
    wait_for("they are stuck", lambda: len(receiver.at("/slow")) >= 4)
    other = user2.add(repository.url, on_done=receiver.url + "/prompt")
    wait_for("the other one is delivered", lambda: state(stack, other) == ["delivered"])
    assert all("delivered" not in state(stack, key) for key in slow)
    assert len(receiver.at("/slow")) <= 4  # of one lane at a time
    hold.set()
    wait_for("all are delivered", lambda: all(state(stack, key) == ["delivered"] for key in slow))
    assert len({headers["webhook-id"] for headers, _ in receiver.at("/slow")}) == len(slow)


def test_what_a_worker_had_under_way_when_it_was_killed_comes_again(stack, house, user, receiver, repository):
    hold = threading.Event()
    receiver.answers["/killed"] = [hold]
    key = user.add(repository.url, on_done=receiver.url + "/killed")
    wait_for("it is under way", lambda: receiver.at("/killed"))
    house[1].kill()
    assert state(stack, key) == ["waiting"]
    house[1].start()
    now(stack, key)  # as when the lease is over
    wait_for("it is delivered", lambda: state(stack, key) == ["delivered"])
    hold.set()
    assert len({headers["webhook-id"] for headers, _ in receiver.at("/killed")}) == 1


def test_a_keeper_whose_rules_do_not_list_the_place_gives_it_up(stack, house, user, receiver, repository):
    house[1].stop()
    key = user.add(repository.url, on_done=receiver.url + "/unlisted")
    try:
        with running(trabajos.worker(stack, "webhook-strict")):
            wait_for("it is given up", lambda: state(stack, key) == ["given_up"])
    finally:
        house[1].start()
    row, = deliveries(user, key)
    assert "WEBHOOK_ALLOW" in row["error"] and row["status_code"] is None
    assert not receiver.at("/unlisted")


def test_anothers_deliveries_are_like_those_of_no_job(stack, user, receiver, repository):
    key = user.add(repository.url, on_done=receiver.url + "/mine")
    other = trabajos.User(stack, user.url, "user2")
    for path in (key, "00000000-0000-7000-8000-000000000000"):
        assert other.get(f"/api/v1/trabajos/{path}/deliveries").status_code == 404
    assert trabajos.User(stack, user.url, "admin").get(f"/api/v1/trabajos/{key}/deliveries").status_code == 200
    wait_for("it is delivered", lambda: state(stack, key) == ["delivered"])
    stack.sql("DELETE FROM trabajos WHERE key = %s", key)
    assert state(stack, key) == []

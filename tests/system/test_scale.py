"""The observer acts: workers come and go by its decisions, none is stopped while it works, and whatever dies in the middle of it."""

import contextlib
import copy
import math
import os
import pathlib
import signal
import time
import uuid

import confluent_kafka
import psycopg2
import pytest
import requests

import trabajos
from trabajos import wait_for


def local_workers(folder):
    """Numbers and pids of the workers that an observer started in this folder, whoever is their parent now. A child of a worker's is
    none, though it looks like one until it becomes another program."""
    found, parents = [], {}
    wanted = f"WORKER_DIR={folder}/worker-".encode()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (process / "stat").read_text().rsplit(")")[1].split()[:2]
            if (process / "comm").read_text() != "trabajos-worker\n" or state == "Z":
                continue
            for variable in (process / "environ").read_bytes().split(b"\0"):
                if variable.startswith(wanted):
                    found.append((int(variable[len(wanted):]), int(process.name)))
                    parents[int(process.name)] = int(parent)
    return {number: pid for number, pid in found if parents[pid] not in parents}


@pytest.fixture
def local(stack, no_worker, request):
    """Options of an observer with workers of its own; nothing of them stays."""
    folder = stack.dir / f"local-{request.node.name[:40]}"
    folder.mkdir()
    stack.sql("DELETE FROM workers")
    yield {"SCALE_ACTUATOR": "local", "SCALE_LOCAL_DIR": folder, "WORKER_SLOTS": 1, "JOB_GRACE_S": 1, "LEASE_S": 5, "SCALE_MIN": 1,
           "SCALE_MAX": 3, "SCALE_DEADLINE_S": 3, "SCALE_IDLE_S": 1, "SCALE_START_S": 1}
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        for pid in local_workers(folder).values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        with contextlib.suppress(AssertionError):
            wait_for("the local workers are gone", lambda: not local_workers(folder), 10)
    stack.sql("DELETE FROM workers")


def claiming(stack):
    return stack.sql("SELECT count(*) FROM workers WHERE NOT draining")[0][0]


def escala(observer):
    answer = requests.get(observer.url + "/escala", timeout=10)
    answer.raise_for_status()
    return answer.json()


@pytest.fixture
def empty(stack):
    """The stack with a ledger in which nothing has happened, and nobody works."""
    other = copy.copy(stack)
    other.env = {**stack.env, "POSTGRES_DB": "empty_ledger"}
    with contextlib.closing(psycopg2.connect(host=stack.env["POSTGRES_HOST"], port=stack.env["POSTGRES_PORT"], dbname="postgres",
                                             user="postgres", password=stack.env["POSTGRES_PASSWORD"])) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE empty_ledger")
        try:
            other.migrate()
            yield other
        finally:
            cursor.execute("DROP DATABASE empty_ledger WITH (FORCE)")


def by_the_formula(jobs, run_s, age_s, deadline_s=60, start_s=10):
    """Rule 1 of observer/rule.h without workers: N / ((T - margin - age - D) / S)."""
    run_s *= 0.1 * 0.75 + 0.9  # of runs that are all alike, the quickest tenth counts as three quarters (observer/forecast.c)
    margin_s = min(max(2 * run_s, deadline_s / 10), deadline_s / 4)
    return math.ceil(jobs * run_s / (deadline_s - margin_s - age_s - start_s))


def test_twice_the_queue_or_half_the_service_time_move_the_number_as_the_formula_says(empty):
    for jobs, run_s in ((100, 12), (200, 12), (100, 6)):
        empty.sql("DELETE FROM queue")
        empty.sql("DELETE FROM trabajos")
        empty.sql("WITH job AS (INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at, finished_at, status, attempt)"
                  " SELECT gen_random_uuid(), 'a', 'a', 'https://a.example/r', '', past, past, past, 'Finished', 1"
                  " FROM generate_series(1, 100), (SELECT now() - interval '1 hour' AS past) AS long_ago RETURNING key)"
                  " INSERT INTO attempts (key, attempt, worker, owner, started_at, finished_at)"
                  " SELECT key, 1, 'w', 'a', now() - (%s + 30) * interval '1 s', now() - interval '30 s' FROM job", run_s)
        observer = trabajos.observer(empty, f"formula-{jobs}-{run_s}", SCALE_DEADLINE_S=60, SCALE_START_S=10, SCALE_MAX=1000)
        with trabajos.running(observer):
            wait_for("it measures", lambda observer=observer: escala(observer)["queue"]["jobs"] == 0)
            since = time.monotonic()
            empty.sql("INSERT INTO queue (rank, owner, place, eligible_at, key, attempt)"
                      " SELECT 0, 'a', 0, now(), gen_random_uuid(), 0 FROM generate_series(1, %s)", jobs)
            said = wait_for("the queue is seen", lambda observer=observer, jobs=jobs: (
                lambda said: said["queue"]["jobs"] == jobs and said)(escala(observer)))
            age_s = time.monotonic() - since  # at most
        assert by_the_formula(jobs, run_s, 0) <= said["deseados"] <= by_the_formula(jobs, run_s, age_s), said


def told(admin):
    """The scores of what clients were told: {"first": …, "newest": …}."""
    return admin.get("/api/v1/scale", limit=1).json()["score"]["told"]


def test_a_burst_brings_workers_up_and_down_and_interrupts_no_job(stack, user, users, local, script):
    url = script("sleep 0.1").url
    [[since, before]] = stack.sql("SELECT coalesce((SELECT max(id) FROM scale_decisions), 0), coalesce((SELECT max(id) FROM scale_actions), 0)")
    observer = trabajos.observer(stack, "scaling", **local)
    with trabajos.running(observer):
        wait_for("the floor is reached", lambda: claiming(stack) == 1)
        keys = [user.add(url) for _ in range(200)]
        wait_for("there are as many workers as may be", lambda: claiming(stack) == 3)
        waiting = wait_for("one of them is told when it starts", lambda: next((w for w in (
            user.get(f"/api/v1/trabajos/{key}").json()["waiting"] for key in keys[-20:]) if w and w["eta_s"]), None))
        assert waiting["position"] >= waiting["own_position"] > 0 and 0 <= waiting["eta_s"]["low"] <= waiting["eta_s"]["high"]
        wait_for("all jobs have ended", lambda: stack.sql(
            "SELECT count(*) FROM trabajos WHERE key = ANY (%s::uuid[]) AND status = 'Finished'", keys)[0][0] == len(keys), 120)
        wait_for("what was foretold is scored", lambda: observer.metric("trabajos_forecast_scored") > 0, 30)
        # looked at when the first moment that was told has come, however early the jobs started
        score = wait_for("what was told is scored", lambda: (lambda s: s["newest"]["scored"] and s)(told(users["admin"])),
                         60 + waiting["eta_s"]["low"])
        assert score["first"]["scored"] == sum(score["first"][part] for part in ("inside", "early", "late"))
        assert stack.sql("SELECT count(*) FROM ranges_told WHERE key = ANY (%s::uuid[])", keys)[0][0] > 0
        wait_for("the floor is reached again", lambda: len(local_workers(local["SCALE_LOCAL_DIR"])) == 1, 90)
        judged = "FROM scale_decisions WHERE judged_at IS NOT NULL AND id > %s"
        wait_for("what was decided in the burst is scored", lambda: stack.sql(f"SELECT sum(claimed) >= 200 {judged}", since)[0][0], 90)
    assert stack.sql(f"SELECT max(needed) > 1, min(worker_ms) >= 0, bool_or(partly) {judged}", since) == [(True, True, False)]
    outcomes = [decision["outcome"] for decision in users["admin"].get("/api/v1/scale", limit=1000).json()["decisions"]]
    assert {outcome["verdict"] for outcome in outcomes if outcome} <= {"right", "more", "fewer"}
    assert stack.sql("SELECT count(*), max(attempt) FROM attempts WHERE key = ANY (%s::uuid[])", keys) == [(200, 1)]
    kept = stack.sql("SELECT wanted, reason, sample FROM scale_decisions WHERE id > %s ORDER BY id", since)
    assert {1, 3} <= {wanted for wanted, _, _ in kept}
    assert all(reason.startswith(f"{wanted} worker") and "queue" in sample for wanted, reason, sample in kept)
    states = [state for state, in stack.sql("SELECT state FROM scale_actions WHERE actuator = 'local' AND id > %s ORDER BY id", before)]
    assert "asked" in states and "reached" in states and "failed" not in states


def test_an_observer_that_is_killed_leaves_its_workers_at_work_and_the_next_one_has_them(stack, user, local, script):
    folder = local["SCALE_LOCAL_DIR"]
    url = script("sleep 600").url
    observer = trabajos.observer(stack, "killed", **{**local, "SCALE_MAX": 2})
    with trabajos.running(observer):
        keys = [user.add(url) for _ in range(2)]
        wait_for("both run", lambda: all(user.status(key) == "Running" for key in keys), 90)
        before = local_workers(folder)
        observer.kill()
        assert local_workers(folder) == before
        observer.options["SCALE_MIN"] = observer.options["SCALE_MAX"] = 1
        observer.start()
        retiring = wait_for("one is to retire", lambda: stack.sql(
            "SELECT w.worker, w.pid FROM workers w WHERE w.retire_asked_at IS NOT NULL"))
        assert local_workers(folder) == before, "it is busy"
        observer.kill()  # in the middle of it: asked to leave, and not gone
        observer.start()
        [[freed]] = stack.sql("SELECT key::text FROM trabajos WHERE worker = %s AND status = 'Running'", retiring[0][0])
        assert user.get(f"/api/v1/trabajos/{freed}/cancel", method="POST").status_code == 200
        wait_for("it has left", lambda: list(local_workers(folder).values()) == [pid for pid in before.values() if pid != retiring[0][1]])
        [other] = [key for key in keys if key != freed]
        assert user.status(other) == "Running"
        user.get(f"/api/v1/trabajos/{other}/cancel", method="POST")
        user.await_end(other)
    assert stack.sql("SELECT max(attempt) FROM attempts WHERE key = ANY (%s::uuid[])", keys) == [(1,)]


def test_of_two_observers_one_acts_and_the_other_takes_over(stack, local):
    first, second = (trabajos.observer(stack, name, **local) for name in ("leading", "standing-by"))
    with trabajos.running(first):
        wait_for("the first leads", lambda: first.metric("trabajos_observer_leads") == 1)
        wait_for("the floor is reached", lambda: claiming(stack) == 1)
        with trabajos.running(second):
            assert second.metric("trabajos_observer_leads") == 0
            said = wait_for("both say a number", lambda: [escala(observer) for observer in (first, second)])
            assert [one["leads"] for one in said] == [True, False] and all(1 <= one["deseados"] <= 3 for one in said)
            workers = local_workers(local["SCALE_LOCAL_DIR"])
            first.kill()
            wait_for("the second leads", lambda: second.metric("trabajos_observer_leads") == 1)
            wait_for("it decides", lambda: stack.sql("SELECT count(*) FROM scale_decisions WHERE at > now() - interval '1 second'")[0][0])
            assert local_workers(local["SCALE_LOCAL_DIR"]) == workers


def test_from_zero_a_record_in_kafka_is_enough_and_a_dry_run_only_says_so(stack, local):
    observer = trabajos.observer(stack, "dry", **{**local, "SCALE_MIN": 0, "SCALE_DRY": "yes"})
    with trabajos.running(observer):
        wait_for("nobody is wanted", lambda: escala(observer)["deseados"] == 0 and escala(observer)["queue"]["in_kafka"] is False)
        since = stack.sql("SELECT coalesce(max(id), 0) FROM scale_actions")[0][0]
        producer = confluent_kafka.Producer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"]})
        producer.produce("trabajos", key=str(uuid.uuid4()), value="file:///nothing")
        assert producer.flush(30) == 0
        said = wait_for("somebody is wanted", lambda: (lambda said: said["deseados"] == 1 and said)(escala(observer)))
        assert said["queue"]["in_kafka"] and said["queue"]["jobs"] == 0 and said["actuator"] == "advise" and "Kafka" in said["motivo"]
        wait_for("it is kept", lambda: stack.sql("SELECT actuator, bound FROM scale_decisions ORDER BY id DESC LIMIT 1") == [("advise", "kafka")])
        assert not local_workers(local["SCALE_LOCAL_DIR"])
        assert {actuator for actuator, in stack.sql("SELECT actuator FROM scale_actions WHERE id > %s", since)} <= {"advise"}


def test_a_worker_that_cannot_start_is_tried_again_ever_more_seldom_and_said(stack, local):
    observer = trabajos.observer(stack, "failing", **{**local, "WORKER_SLOTS": "many"})
    with trabajos.running(observer):
        detail = wait_for("the failure is kept", lambda: stack.sql(
            "SELECT detail FROM scale_actions WHERE state = 'failed' AND detail LIKE '%%worker-1%%' ORDER BY id DESC LIMIT 1"))[0][0]
        assert "exit code 78" in detail
        assert observer.metric("trabajos_scale_unreached_seconds") > 0


def test_the_decisions_are_for_administrators_to_read(users, stack):
    stack.sql("INSERT INTO scale_decisions (wanted, actual, bound, reason, actuator, sample) VALUES (1, 0, 'min', 'because', 'advise', '{}')")
    scale = users["admin"].get("/api/v1/scale", limit=1).json()
    [decision] = scale["decisions"]
    assert decision["reason"] == "because" and decision["sample"] == {} and decision["at"]
    assert {"actions", "forecast", "score"} <= scale.keys()
    assert users["user"].get("/api/v1/scale").status_code == 403
    assert users["admin"].get("/api/v1/scale", limit=0).status_code == 400

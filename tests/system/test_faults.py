"""Processes die, services go away and come back: nothing accepted is lost."""

import pathlib
import signal
import time

import pytest
import requests
import trabajos

MENDED_CLOCK = trabajos.ROOT / "build/gcc-fail/clock.so"  # what libfaketime lacks (tests/faults/clock.c)


def finished_once(stack, keys):
    rows = stack.sql("SELECT status, count(*) FROM trabajos WHERE key = ANY (%s::uuid[]) GROUP BY status", keys)
    visible = stack.sql("SELECT count(*), count(DISTINCT key) FROM resultados WHERE key = ANY (%s)", keys)
    return rows == [("Finished", len(keys))] and visible == [(len(keys), len(keys))]


def test_a_killed_workers_jobs_are_taken_over_and_end_once(stack, user, no_worker, script):
    url = script("sleep 1; echo done").url
    first, second = (trabajos.worker(stack, f"lease-{n}", LEASE_S=3, WORKER_SLOTS=2) for n in (1, 2))
    with trabajos.running(first):
        keys = [user.add(url) for _ in range(4)]
        trabajos.wait_for("two run", lambda: [user.status(key) for key in keys].count("Running") == 2, 20)
        first.kill()
        with trabajos.running(second):
            for key in keys:
                assert user.await_end(key, 90) == "Finished"
    assert finished_once(stack, keys)
    history = stack.sql("SELECT key::text, attempt, worker, started_at::text, finished_at::text, outcome->>'message' FROM attempts"
                        " WHERE key = ANY (%s::uuid[]) ORDER BY 1, 2", keys)
    assert sum("lease ran out" in row[-1] for row in history) == 2, history


def test_a_frozen_worker_writes_nothing_when_it_wakes(stack, user, no_worker, script):
    url = script("sleep 2; echo attempt $TRABAJO_ATTEMPT").url
    frozen, other = (trabajos.worker(stack, f"frozen-{n}", LEASE_S=3, WORKER_SLOTS=1) for n in (1, 2))
    with trabajos.running(frozen):
        key = user.add(url)
        trabajos.wait_for("it runs", lambda: user.status(key) == "Running", 20)
        frozen.signal(signal.SIGSTOP)
        with trabajos.running(other):
            assert user.await_end(key, 60) == "Finished"
            attempt = stack.sql("SELECT attempt FROM trabajos WHERE key = %s", key)[0][0]
            frozen.signal(signal.SIGCONT)
            trabajos.wait_for("the late worker finds out", lambda: frozen.metric("trabajos_attempts_fenced_total") >= 1, 30)
    assert attempt == 2 and user.log(key) == "attempt 2\n"
    assert stack.sql("SELECT attempt, status FROM trabajos WHERE key = %s", key) == [(2, "Finished")]
    assert finished_once(stack, [key])


def test_a_worker_that_is_told_to_stop_finishes_what_it_runs(stack, user, no_worker, script):
    leaving = trabajos.worker(stack, "leaving", WORKER_SLOTS=1)
    with trabajos.running(leaving):
        key = user.add(script("sleep 2; echo whole").url)
        trabajos.wait_for("it runs", lambda: user.status(key) == "Running", 20)
        queued = user.add(script("true").url)
        assert leaving.stop(30) == 0
        assert user.status(key) == "Finished" and user.log(key) == "whole\n"
        assert user.status(queued) == "Queued"
    assert stack.sql("SELECT count(*) FROM workers WHERE pid = %s", leaving.process.pid) == [(0,)]


def test_what_cannot_end_in_time_is_given_back_at_no_cost(stack, user, no_worker, script):
    url = script("[ $TRABAJO_ATTEMPT = 1 ] && sleep 100; echo attempt $TRABAJO_ATTEMPT").url
    leaving, next_one = trabajos.worker(stack, "drained", DRAIN_S=1), trabajos.worker(stack, "next")
    with trabajos.running(leaving):
        key = user.add(url)
        trabajos.wait_for("it runs", lambda: user.status(key) == "Running", 20)
        assert leaving.stop(30) == 0
        assert user.status(key) == "Queued"
        assert stack.sql("SELECT platform_failures, attempt FROM trabajos WHERE key = %s", key) == [(0, 1)]
        with trabajos.running(next_one):
            assert user.await_end(key) == "Finished" and user.log(key) == "attempt 2\n"


def test_jobs_of_a_killed_frontend_are_not_lost(stack, user, users, worker, script):
    url = script("true").url
    mortal = trabajos.frontend(stack, "mortal")
    with trabajos.running(mortal):
        somebody = trabajos.User(stack, mortal.url, "user2")
        keys = [somebody.add(url) for _ in range(20)]
        mortal.kill()
    for key in keys:
        assert users["user2"].await_end(key) == "Finished"
    assert finished_once(stack, keys)


def test_postgresql_away_jobs_are_accepted_and_run_later(stack, frontend, user, worker, script):
    url = script("true").url
    user.token()
    user.run(url)
    stack.run("stop", "postgres")
    try:
        answers = trabajos.wait_for("the frontend notices", lambda: [
            answer for answer in [user.get("/add", url=url)] if answer.status_code == 200 and answer.headers.get("Trabajos-Ledger")], 30)
        assert answers[0].headers["Trabajos-Ledger"] == "pending"
        keys = [answers[0].text.split()[-1]] + [user.add(url) for _ in range(10)]
        assert user.get("/all").status_code == 503 and "Retry-After" in user.get("/all").headers
        assert frontend.readyz().status_code == 503
        assert requests.get(frontend.url + "/healthcheck", timeout=10).status_code == 200
    finally:
        stack.run("start", "postgres")
    worker.await_ready()
    frontend.await_ready()
    for key in keys:
        assert user.await_end(key, 90) == "Finished"
    assert finished_once(stack, keys)


def test_a_job_that_runs_through_an_outage_of_postgresql_keeps_its_worker(stack, frontend, user, no_worker, script):
    steady = trabajos.worker(stack, "steady", LEASE_S=3)
    with trabajos.running(steady):
        key = user.add(script("sleep 6; echo attempt $TRABAJO_ATTEMPT").url)
        trabajos.wait_for("it runs", lambda: user.status(key) == "Running", 20)
        stack.run("stop", "postgres")
        time.sleep(4)  # longer than the lease, that is the point
        stack.run("start", "postgres")
        frontend.await_ready()
        assert user.await_end(key, 60) == "Finished"
        assert user.log(key) == "attempt 1\n"


def test_kafka_away_nothing_is_accepted_that_could_be_lost(stack, frontend, user, worker, script):
    url = script("true").url
    user.token()
    stack.run("stop", "kafka")
    try:
        trabajos.wait_for("the frontend notices", lambda: frontend.readyz().status_code == 503, 60)
        answer = user.get("/add", url=url)
        assert answer.status_code == 503 and "Retry-After" in answer.headers
        assert requests.get(frontend.url + "/healthcheck", timeout=10).status_code == 503
    finally:
        stack.run("start", "kafka")
    frontend.await_ready(90)
    worker.await_ready(90)
    assert user.run(url, 90)[1] == "Finished"


def test_keycloak_away_known_keys_go_on(stack, frontend, user, worker, script):
    user.renewed = 0.0  # a token that lasts while Keycloak is away
    user.token()
    assert user.get("/all").status_code == 200
    stack.run("stop", "keycloak")
    try:
        assert user.get("/all").status_code == 200
        blind = trabajos.frontend(stack, "blind").start(ready=False)
        try:
            trabajos.wait_for("it listens", lambda: blind.readyz().status_code == 503, 30)
            answer = requests.get(blind.url + "/all", headers={"Authorization": "Bearer " + user.token()}, timeout=20)
            assert answer.status_code == 503 and "Retry-After" in answer.headers
            stack.run("start", "keycloak")
            blind.await_ready(120)
        finally:
            blind.kill()
    finally:
        stack.run("start", "keycloak")


@pytest.mark.parametrize(("clock_s", "why"), [(3600, "expired"), (-3600, "in the future, compare the clocks")])
def test_a_frontend_whose_clock_is_an_hour_off_accepts_nothing_and_says_why(stack, frontend, users, no_worker, script, clock_s, why):
    library = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    if library is None:
        pytest.skip("faketime is not installed")
    url = script("true").url
    misdated = trabajos.frontend(stack, f"misdated{clock_s:+d}", LD_PRELOAD=f"{MENDED_CLOCK} {library}", FAKETIME=f"{clock_s:+d}s",
                                 DONT_FAKE_MONOTONIC=1)
    with trabajos.running(misdated):
        header = {"Authorization": "Bearer " + users["user2"].token()}
        before = stack.sql("SELECT count(*) FROM trabajos")
        for path in ("/add", "/all"):
            answer = requests.get(misdated.url + path, headers=header, params={"url": url}, timeout=20)
            assert answer.status_code == 401 and why in answer.json()["detail"], answer.text
        # beside it the others go on, and it ends in good order
        key = users["user2"].add(url)
        assert stack.sql("SELECT count(*) FROM trabajos") == [(before[0][0] + 1,)]
        posted = stack.sql("SELECT abs(extract(epoch FROM now() - posted_at)) < 60 FROM trabajos WHERE key = %s", key)
        assert misdated.readyz().status_code == 200 and misdated.stop() == 0
    assert posted == [(True,)]


@pytest.mark.parametrize("service", ["postgres", "kafka"])
def test_daemons_that_start_before_their_services_wait_for_them(stack, session_worker, frontend, user, script, service):
    stack.run("stop", service)
    early = trabajos.worker(stack, f"early-{service}")
    front, watch = trabajos.frontend(stack, f"early-front-{service}"), trabajos.observer(stack, f"early-watch-{service}")
    try:
        for daemon in (early, front, watch):
            daemon.start(ready=False)
        for daemon in (early, front, watch):
            answer = trabajos.wait_for(f"{daemon.name} says what it waits for", lambda daemon=daemon: [daemon.readyz()], 30)[0]
            assert answer.status_code == 503 and answer.json()["detail"]
            assert daemon.alive()
        stack.run("start", service)
        for daemon in (early, front, watch, session_worker, frontend):
            daemon.await_ready(120)
        assert user.run(script("true").url)[1] == "Finished"
        for daemon in (early, front, watch):
            assert daemon.stop() == 0
    finally:
        stack.run("start", service)
        for daemon in (early, front, watch):
            daemon.end()


def test_a_job_that_kills_its_worker_every_time_ends_as_a_dead_letter_and_hurts_nobody_else(stack, users, no_worker, script):
    attempts = 2
    options = {"LEASE_S": 3, "MAX_ATTEMPTS": attempts}
    observer, worker = trabajos.observer(stack, "undertaker", **options), trabajos.worker(stack, "victim", WORKER_SLOTS=4, **options)
    poison = users["user"].add(script("echo up; sleep 300").url, retries=9)
    # these run beside it when it kills its worker for the first time: the second time they must not
    beside = [users["user2"].add(script("echo up; if [ $TRABAJO_ATTEMPT = 1 ]; then sleep 300; fi").url) for _ in range(2)]

    def up(attempt, *keys):
        return stack.sql("SELECT count(DISTINCT key) FROM logs WHERE key = ANY (%s::uuid[]) AND attempt >= %s", list(keys), attempt) == [(len(keys),)]
    with trabajos.running(observer):  # keeps the house while nobody works
        with trabajos.running(worker):
            trabajos.wait_for("all of them run", lambda: up(1, poison, *beside))
            others = [users["user2"].add(script("true").url) for _ in range(8)]
            worker.kill()
        with trabajos.running(worker):
            trabajos.wait_for("it runs again", lambda: up(2, poison))
            alive = stack.sql("SELECT key::text FROM trabajos WHERE status = 'Running'")
            worker.kill()
        assert alive == [(poison,)]
        assert users["user"].await_end(poison) == "Failed"
        with trabajos.running(worker):
            assert {users["user2"].await_end(key) for key in [*beside, *others]} == {"Finished"}
            assert stack.sql("SELECT status FROM trabajos WHERE key = %s", poison) == [("Failed",)], "it is not tried again"
    letter, = [each for each in users["user"].get("/api/v1/dead", limit=1000).json() if each["key"] == poison]
    assert (letter["outcome"]["code"], letter["outcome"]["blame"]) == ("lost", "platform")
    assert [each["outcome"]["code"] for each in letter["attempts"]] == ["lost"] * len(letter["attempts"])
    assert letter["failures"] == {"platform": attempts, "user": 0}
    assert stack.sql("SELECT count(*) FROM dead_letters WHERE key = ANY (%s::uuid[])", [*beside, *others]) == [(0,)]
    assert finished_once(stack, [*beside, *others])


def test_a_job_that_waits_to_run_alone_goes_back_as_soon_as_its_worker_is_asked_to_stop(stack, users, no_worker, script):
    options = {"LEASE_S": 3, "MAX_ATTEMPTS": 2}
    last_try = users["user"].add(script("echo up; if [ $TRABAJO_ATTEMPT = 1 ]; then sleep 300; fi").url)

    def has(key, status, attempt):
        return stack.sql("SELECT status, attempt FROM trabajos WHERE key = %s", key) == [(status, attempt)]
    lost, full, free = (trabajos.worker(stack, name, WORKER_SLOTS=slots, **options) for name, slots in (("lost", 1), ("full", 2), ("free", 1)))
    with trabajos.running(trabajos.observer(stack, "reaper", **options), lost):
        trabajos.wait_for("it runs", lambda: stack.sql("SELECT count(*) FROM logs WHERE key = %s", last_try) == [(1,)])
        long = users["user2"].add(script("sleep 300").url)
        with trabajos.running(full):
            trabajos.wait_for("another one runs", lambda: has(long, "Running", 1))
            lost.kill()
            trabajos.wait_for("it waits beside the other one", lambda: has(last_try, "Running", 2))
            full.process.terminate()
            trabajos.wait_for("it goes back", lambda: has(last_try, "Queued", 2))
            with trabajos.running(free):
                assert users["user"].await_end(last_try) == "Finished"
            assert has(long, "Running", 1)
            users["user2"].get(f"/api/v1/trabajos/{long}/cancel", method="POST")
            assert users["user2"].await_end(long) == "Cancelled"
            assert full.process.wait(20) == 0


def test_bad_configuration_ends_the_start_with_a_line_that_names_the_option(stack):
    for program, option, value in (("trabajos-worker", "WORKER_SLOTS", "many"), ("trabajos-frontend", "FRONTEND_LISTEN", "nowhere"),
                                   ("trabajos-observer", "SCALE_MAX", "-1"), ("trabajos-worker", "WORKER_ISOLATION", "some")):
        daemon = trabajos.Daemon(stack, program, "misconfigured", **{option: value}).start(ready=False)
        assert daemon.process.wait(20) == 78
        assert option in daemon.tail(3)


def test_the_daemons_are_small_at_rest(stack):
    """By what is each one's own: of the pages of libraries that processes share, the kernel keeps as many as it likes."""
    fresh = [make(stack, f"small-{make.__name__}") for make in (trabajos.frontend, trabajos.worker, trabajos.observer)]
    with trabajos.running(*fresh):
        for daemon in fresh:
            own = daemon.private_dirty_bytes()
            assert 0 < own < 8 << 20, f"{daemon.name}: {own >> 10} KiB, where bench/README.md claims 3 MiB"

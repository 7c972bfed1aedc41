"""Schedules: the HTTP interface, firing with and without workers, and when the moments are, beside another reckoning."""

import datetime
import itertools
import json
import random
import uuid
import zoneinfo

import pytest
import test_http

import trabajos
from trabajos import wait_for

PATH = "/api/v1/schedules"
NEVER = {"name": "never", "cron": "0 0 29 2 *", "url": "https://example.org/x.git"}
counter = itertools.count(1)


def post(user, path=PATH, **body):
    return user.get(path, method="POST", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def make(user, url, cron="0 0 29 2 *", **more):
    answer = post(user, name=f"schedule-{next(counter)}", cron=cron, url=url, **more)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"{PATH}/{answer.json()['id']}"
    return answer.json()["id"]


def get(user, identity):
    answer = user.get(f"{PATH}/{identity}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def moment(text):
    return datetime.datetime.fromisoformat(text)


def jobs_of(stack, schedule, user):
    """Keys of the ledger's jobs that this user's schedule has put there: it asks for a label that tells them."""
    return [key for key, in stack.sql("SELECT key::text FROM trabajos WHERE owner = %s AND spec -> 'labels' ->> 'schedule' = %s",
                                      user.claims()["sub"], schedule)]


@pytest.fixture
def clean(stack):
    stack.sql("DELETE FROM schedules")
    yield
    stack.sql("DELETE FROM schedules")


@pytest.fixture
def label():
    return str(uuid.uuid4())


# ---- the interface

def test_a_schedule_is_made_shown_paused_resumed_and_deleted(user, clean):
    body = {"name": "nightly", "cron": "30 2 * * mon-fri", "zone": "Europe/Madrid", "url": "https://example.org/x.git", "missed": "once",
            "ref": "main", "priority": 3, "labels": {"kind": "backup"}}
    made = post(user, **body)
    assert made.status_code == 201 and made.headers["Content-Type"] == "application/json"
    shown = made.json()
    path = made.headers["Location"]
    assert path == f"{PATH}/{shown['id']}" and uuid.UUID(shown["id"]).version == 7
    assert {name: shown[name] for name in body} == body
    assert shown["usuario"] == "user" and shown["paused"] is False and shown["last_at"] is None and shown["last_key"] is None
    next_at = moment(shown["next_at"]).astimezone(zoneinfo.ZoneInfo("Europe/Madrid"))
    assert next_at > datetime.datetime.now(datetime.timezone.utc) and next_at.weekday() < 5
    assert user.get(path).json() == shown
    listed = user.get(PATH).json()
    assert [entry["id"] for entry in listed] == [shown["id"]] and listed[0]["name"] == "nightly" and "labels" not in listed[0]

    for _ in range(2):
        paused = user.get(path + "/pause", method="POST")
        assert paused.status_code == 200 and paused.json()["paused"] is True and paused.json()["next_at"] is None
    for _ in range(2):
        resumed = user.get(path + "/resume", method="POST")
        assert resumed.status_code == 200 and resumed.json() == shown

    gone = user.get(path, method="DELETE")
    assert gone.status_code == 204 and gone.text == ""
    for answer in (user.get(path), user.get(path, method="DELETE"), user.get(path + "/pause", method="POST")):
        test_http.problem(answer, 404, "schedule")
    assert user.get(PATH).json() == []


def test_the_default_is_utc_and_to_skip(user, clean):
    shown = get(user, make(user, "https://example.org/x.git", cron="@daily"))
    assert shown["zone"] == "UTC" and shown["missed"] == "skip" and shown["cron"] == "@daily"
    assert moment(shown["next_at"]).astimezone(datetime.timezone.utc).time() == datetime.time(0, 0)


@pytest.mark.parametrize("change, words", [
    ({"name": None}, ["name"]), ({"name": ""}, ["name"]), ({"name": "x" * 201}, ["name"]), ({"name": "a\nb"}, ["name"]), ({"name": 5}, ["name"]),
    ({"cron": None}, ["cron"]), ({"cron": "61 * * * *"}, ["cron", "minute"]), ({"cron": "* * * *"}, ["cron", "five fields"]),
    ({"cron": "0 0 30 2 *"}, ["cron", "never"]), ({"cron": "@reboot"}, ["cron"]), ({"cron": ["*"]}, ["cron"]),
    ({"zone": "Madrid"}, ["zone"]), ({"zone": "Europe/Nowhere"}, ["zone"]), ({"zone": "UTC+3"}, ["zone"]), ({"zone": 1}, ["zone"]),
    ({"missed": "never"}, ["missed"]), ({"missed": True}, ["missed"]),
    ({"url": None}, ["url"]), ({"url": "https://127.0.0.1/x.git"}, ["url"]), ({"url": "nonsense"}, ["url"]),
    ({"ref": "a..b"}, ["ref"]), ({"retries": -1}, ["retries"]), ({"colour": "red"}, ["colour"]), ({"run_after": 5}, ["run_after"]),
])
def test_what_cannot_be_a_schedule_is_refused_by_its_member(user, clean, change, words):
    body = {name: value for name, value in {**NEVER, **change}.items() if value is not None}
    test_http.problem(post(user, **body), 400, *words)
    assert user.get(PATH).json() == []


def test_a_body_that_is_no_json_object_is_refused(user):
    for body in (b"", b"{", b"[]", b"null", b'{"name":"a","name":"b"}', b"name=x", b"\xff", b'{"name":"a\\u0000b"}'):
        test_http.problem(user.get(PATH, method="POST", data=body, headers={"Content-Type": "application/json"}), 400, "body")
    test_http.problem(user.get(PATH, method="POST", data=b"{}", headers={"Content-Type": "text/plain"}), 415, "application/json")
    assert user.get(PATH, method="POST", data=b" " * 70_000).status_code == 413


def test_a_name_is_taken_once_by_each_user(users, clean):
    first = post(users["user"], **NEVER)
    assert first.status_code == 201
    assert first.json()["id"] in test_http.problem(post(users["user"], **NEVER), 409, "name")["detail"]
    assert post(users["user2"], **NEVER).status_code == 201


def test_a_user_has_a_hundred_schedules_at_most(stack, user, clean):
    first = make(user, "https://example.org/x.git")
    columns = ", ".join(name for name, in stack.sql("SELECT column_name::text FROM information_schema.columns"
                                                    " WHERE table_name = 'schedules' AND column_name NOT IN ('id', 'name')"))
    stack.sql(f"INSERT INTO schedules (id, name, {columns}) SELECT gen_random_uuid(), 'copy ' || n, {columns} FROM schedules,"
              " generate_series(1, 99) n WHERE id = %s", first)
    test_http.problem(post(user, **NEVER), 409, "100")
    assert len(user.get(PATH).json()) == 100
    page = user.get(PATH, limit=60)
    rest = user.get(page.headers["Link"].split(">")[0].removeprefix("<"))
    assert len(page.json()) == 60 and len(rest.json()) == 40 and "Link" not in rest.headers
    assert {entry["id"] for entry in page.json() + rest.json()} == {entry["id"] for entry in user.get(PATH).json()}


def test_schedules_are_their_owner_s_and_an_administrator_s(users, clean):
    path = f"{PATH}/{make(users['user'], 'https://example.org/x.git')}"
    for answer in (users["user2"].get(path), users["user2"].get(path, method="DELETE"), users["user2"].get(path + "/pause", method="POST"),
                   users["user2"].get(path + "/resume", method="POST")):
        test_http.problem(answer, 404, "schedule")
    assert users["user2"].get(PATH).json() == [] and users["admin"].get(PATH).json() == []
    test_http.problem(users["user2"].get(PATH, usuario="user"), 403, "admin")
    assert len(users["admin"].get(PATH, usuario="user").json()) == len(users["admin"].get(PATH, usuario="*").json()) == 1
    assert users["admin"].get(path + "/pause", method="POST").json()["usuario"] == "user"
    assert users["admin"].get(path, method="DELETE").status_code == 204


def test_secrets_in_env_are_never_shown(user, clean):
    answer = post(user, **{**NEVER, "env": {"TOKEN": "top-secret", "OTHER": "hidden"}})
    identity = answer.json()["id"]
    for text in (answer.text, user.get(f"{PATH}/{identity}").text, user.get(PATH).text, user.get(f"{PATH}/{identity}/pause", method="POST").text):
        assert "top-secret" not in text and "hidden" not in text
    assert get(user, identity)["env"] == {"TOKEN": None, "OTHER": None}


def test_wrong_methods_and_paths_are_named(user, clean):
    path = f"{PATH}/{make(user, 'https://example.org/x.git')}"
    for target, method, allowed in ((PATH, "DELETE", "POST"), (path, "POST", "DELETE"), (path + "/pause", "GET", "POST"), (path + "/pause", "DELETE", "POST")):
        answer = user.get(target, method=method)
        test_http.problem(answer, 405)
        assert allowed in answer.headers["Allow"]
    for target in (path + "/nothing", path + "/pause/x", PATH + "/", PATH + "/nonsense"):
        test_http.problem(user.get(target), 404)
    for parameters in ({"limit": 0}, {"limit": "x"}, {"limit": 1001}, {"after": "x"}, {"limit": ""}):
        test_http.problem(user.get(PATH, **parameters), 400, next(iter(parameters)))


# ---- firing

def due(stack, *schedules, ago="0 seconds"):
    """Lets the schedules' moment be now, or that long ago."""
    stack.sql("UPDATE schedules SET next_at = now() - %s::interval WHERE id::text = ANY (%s)", ago, list(schedules))


def test_a_schedule_fires_with_no_worker_and_its_job_runs_when_one_comes(stack, user, no_worker, script, clean, label):
    repository = script("echo scheduled")
    with trabajos.running(trabajos.observer(stack, "observer-schedules")):
        schedule = make(user, repository.url, ref="main", labels={"schedule": label})
        due(stack, schedule)
        shown = wait_for("the schedule's job", lambda: (entry := get(user, schedule))["last_key"] and entry)
        key = shown["last_key"]
        assert user.status(key) == "Queued" and jobs_of(stack, label, user) == [key]
        assert moment(shown["next_at"]) > moment(shown["last_at"])
        with trabajos.running(trabajos.worker(stack, "worker-schedules")):
            assert user.await_end(key) == "Finished"
            assert user.log(key) == "scheduled\n"
            assert any(entry["key"] == key for entry in user.get("/all").json())


def test_many_workers_and_an_observer_fire_each_moment_once(stack, user, no_worker, script, clean, label):
    repository = script("echo scheduled")
    daemons = [trabajos.worker(stack, "worker-once-1"), trabajos.worker(stack, "worker-once-2"), trabajos.observer(stack, "observer-once")]
    with trabajos.running(*daemons):
        schedules = [make(user, repository.url, labels={"schedule": label}, missed="once" if n % 2 else "skip") for n in range(20)]
        due(stack, *schedules)
        wait_for("twenty jobs", lambda: all(get(user, schedule)["last_key"] for schedule in schedules))
        keys = {get(user, schedule)["last_key"] for schedule in schedules}
        assert len(keys) == 20
        for key in keys:
            assert user.await_end(key) == "Finished"
        assert set(jobs_of(stack, label, user)) == keys
        assert sum(daemon.metric("trabajos_schedules_fired_total") for daemon in daemons) == 20


def test_missed_moments_are_skipped_or_run_once(stack, user, no_worker, clean, label):
    url = "https://example.org/x.git"
    skips, once, paused = (make(user, url, cron="0 3 * * *", missed=missed, labels={"schedule": f"{label}-{n}"})
                           for n, missed in enumerate(("skip", "once", "once")))
    user.get(f"{PATH}/{paused}/pause", method="POST")
    due(stack, skips, once, ago="3 days")
    with trabajos.running(trabajos.observer(stack, "observer-missed")) as (observer,):
        def handled():
            return get(user, skips)["skipped_at"] and get(user, once)["last_at"]
        wait_for("both seen to", handled)
        assert jobs_of(stack, f"{label}-0", user) == [] and get(user, skips)["last_key"] is None
        assert jobs_of(stack, f"{label}-1", user) == [get(user, once)["last_key"]]
        assert jobs_of(stack, f"{label}-2", user) == [] and get(user, paused)["next_at"] is None
        assert observer.metric("trabajos_schedules_skipped_total") == 1
        for schedule in (skips, once):
            assert moment(get(user, schedule)["next_at"]) > datetime.datetime.now(datetime.timezone.utc)
        assert "skipped" in observer.tail(200)
    stack.sql("SELECT trabajos_cancel(key, NULL, 'the test is over') FROM trabajos WHERE url = %s", url)


# ---- when: another reckoning, minute by minute

def clocks(zone, start, minutes):
    """(moment, what the zone's clocks show) for each minute."""
    return [(at, at.astimezone(zone).replace(tzinfo=None)) for at in (start + datetime.timedelta(minutes=n) for n in range(minutes))]


def expected(shown, minutes, hours, on_day):
    """The moments among `shown` (but the first), by the rules in words: every hour = each time that the clock shows the minute; else
    each local time once, the first time, or when the clock has jumped over it."""
    if len(hours) == 24:
        return [at for at, clock in shown[1:] if clock.minute in minutes and on_day(clock.date())]
    moments, seen, latest = set(), set(), shown[0][1]
    for at, clock in shown[1:]:
        passed = latest
        while passed < clock:  # all local minutes that come now: one, or those that the jump leaves out
            passed += datetime.timedelta(minutes=1)
            if passed.minute in minutes and passed.hour in hours and on_day(passed.date()) and passed not in seen:
                seen.add(passed)
                moments.add(at)
        latest = max(latest, clock)
    return sorted(moments)


@pytest.mark.parametrize("name, around", [
    ("Europe/Madrid", "2026-03-29"), ("Europe/Madrid", "2026-10-25"), ("America/New_York", "2026-03-08"), ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"), ("Australia/Lord_Howe", "2026-10-04"), ("America/Havana", "2026-11-01"), ("Africa/Cairo", "2026-04-24"),
    ("Asia/Kolkata", "2028-02-29"), ("Pacific/Apia", "2011-12-30"), ("America/St_Johns", "2010-11-07"), ("Antarctica/Troll", "2026-03-29"),
])
def test_the_moments_are_those_of_another_reckoning(stack, name, around):
    generator = random.Random(f"{name} {around}")
    zone = zoneinfo.ZoneInfo(name)
    start = datetime.datetime.fromisoformat(around + "T00:00:00+00:00") - datetime.timedelta(days=2)
    shown = clocks(zone, start, 5 * 1440)
    for _ in range(12):
        minutes = sorted(generator.sample(range(60), generator.choice((1, 2, 4, 60))))
        hours = sorted(generator.sample(range(24), generator.choice((1, 3, 6, 23, 24))))
        weekdays = sorted(generator.sample(range(7), generator.choice((3, 7))))
        wanted = expected(shown, minutes, hours, lambda day, weekdays=weekdays: day.isoweekday() % 7 in weekdays)
        rows = stack.sql(
            "WITH RECURSIVE given AS (SELECT %s::smallint[] AS minutes, %s::smallint[] AS hours, %s::smallint[] AS weekdays, %s AS zone,"
            " ARRAY(SELECT generate_series(1, 31)::smallint) AS days, ARRAY(SELECT generate_series(1, 12)::smallint) AS months),"
            " later (at, n) AS (SELECT %s::timestamptz, 0 UNION ALL SELECT"
            " schedules_next(g.minutes, g.hours, g.days, g.months, g.weekdays, false, g.zone, l.at), n + 1 FROM later l, given g WHERE l.at < %s)"
            " SELECT at FROM later WHERE n > 0 AND at <= %s ORDER BY n", minutes, hours, weekdays, name, start, shown[-1][0], shown[-1][0])
        assert [at.astimezone(datetime.timezone.utc) for at, in rows] == wanted, (minutes, hours, weekdays)

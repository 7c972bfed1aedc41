"""The checker finds each thing that must not be, in small worlds that are made up, and nothing where all is well."""

import base64
import dataclasses
import json
import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "system")]

from check import check, event_id, signature  # noqa: E402
from gather import Asked, Attempt, Event, Facts  # noqa: E402
from hooks import Delivery  # noqa: E402

ONCE, TWICE, BROKEN, STOPPED, TOLD = ("11111111-0000-4000-8000-00000000000%d" % number for number in (1, 2, 3, 4, 7))
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def record(key, code, attempt, outcome):
    return key, {"code": code, "attempt": attempt, "timeJobPosted": 1, "timeExecution": 1, "outcome": {"code": outcome}}


def log(key, attempt, start, end):
    return f"start {key} {attempt} {start:.9f}\nend {key} {attempt} {end:.9f}\n"


def lost(worker, started, finished):
    return Attempt(worker, started, finished, "lost", "the worker was lost: its lease ran out", False, "platform")


def deadly(world, faults):
    """A job that killed its worker each time, and was once given back by one that was stopped."""
    key = "11111111-0000-4000-8000-000000000006"
    world.asked[key] = Asked("deadly", 0)
    world.intake.append(key)
    world.attempts[key] = {number: lost("a", 30 + 2 * number, 31 + 2 * number) for number in range(1, faults + 1)}
    world.attempts[key][faults + 1] = world.attempts[key][faults]
    world.attempts[key][faults] = dataclasses.replace(lost("a", 50, 51), message="given back to the queue by its worker")
    world.jobs[key] = ("user", "Failed", faults + 1, "lost")
    world.resultados.append(("user", key, "Failed"))
    world.records.append(record(key, "Failed", faults + 1, "lost"))
    world.dead.add(key)
    return key


def event(key, status, attempt, outcome):
    body = json.dumps({"type": "trabajo.done", "data": {"key": key, "status": status, "attempt": attempt, "outcome": {"code": outcome}}})
    return Event(key, "/told", body, "delivered", 1)


def deliver(facts, which, status=200):
    body = facts.events[which].body.encode()
    facts.deliveries.append(Delivery("/told", which, "100", signature(SECRET, which, "100", body), body, status))


def told(facts):
    """A job with a webhook that failed, was replayed and ended well; the first end was told at the third time."""
    facts.asked[TOLD] = Asked("flaky", 0, replays=("queued",))
    facts.intake.append(TOLD)
    facts.jobs[TOLD] = ("user", "Finished", 2, "ok")
    facts.attempts[TOLD] = {1: Attempt("a", 40, 41, "exit", "", True), 2: Attempt("b", 42, 43, "ok", "", True)}
    facts.logs[TOLD, 2] = log(TOLD, 2, 42.1, 42.9)
    facts.resultados.append(("user", TOLD, "Finished"))
    facts.records += [record(TOLD, "Failed", 1, "exit"), record(TOLD, "Finished", 2, "ok")]
    facts.hooks, facts.hooked = {"/told": SECRET}, {TOLD: "/told"}
    facts.events = {FIRST: event(TOLD, "Failed", 1, "exit"), SECOND: event(TOLD, "Finished", 2, "ok")}
    for which, status in ((FIRST, 503), (FIRST, None), (FIRST, 200), (SECOND, 200)):
        deliver(facts, which, status)


FIRST, SECOND = event_id(TOLD, 1), event_id(TOLD, 2)


@pytest.fixture
def world():
    """One job that ran once, one that was taken over, one that failed and was retried, one that was cancelled before it ran, one with
    a webhook."""
    facts = Facts()
    facts.asked = {ONCE: Asked("quick", 0), TWICE: Asked("nap", 0, ("user", "g", 1, False)), BROKEN: Asked("broken", 1),
                   STOPPED: Asked("quick", 0, cancels=("done",))}
    facts.intake = [ONCE, TWICE, BROKEN, STOPPED, TWICE, None]
    facts.jobs = {ONCE: ("user", "Finished", 1, "ok"), TWICE: ("user", "Finished", 2, "ok"), BROKEN: ("user2", "Failed", 2, "exit"),
                  STOPPED: ("user", "Cancelled", 1, "cancelled")}
    facts.attempts = {ONCE: {1: Attempt("a", 10, 11, "ok", "", True)},
                      TWICE: {1: lost("a", 10, 15), 2: Attempt("b", 16, 18, "ok", "", True)},
                      BROKEN: {1: Attempt("a", 20, 21, "exit", "", True), 2: Attempt("a", 22, 23, "exit", "", True)}}
    facts.logs = {(ONCE, 1): log(ONCE, 1, 10.1, 10.9), (TWICE, 1): f"start {TWICE} 1 10.100000000\n", (TWICE, 2): log(TWICE, 2, 16.1, 17.9),
                  (BROKEN, 1): log(BROKEN, 1, 20.1, 20.9), (BROKEN, 2): log(BROKEN, 2, 22.1, 22.9)}
    facts.resultados = [("user", ONCE, "Finished"), ("user", TWICE, "Finished"), ("user2", BROKEN, "Failed"), ("user", STOPPED, "Cancelled")]
    facts.records = [record(ONCE, "Finished", 1, "ok"), record(TWICE, "Finished", 2, "ok"), record(TWICE, "Finished", 2, "ok"),
                     record(BROKEN, "Failed", 2, "exit"), record(STOPPED, "Cancelled", 1, "cancelled")]
    facts.dead = {BROKEN}
    facts.leftover_rows = {"queue": [], "outbox": []}
    facts.members = {"a": "w1", "b": "w2"}
    facts.intervals = {(ONCE, 1): (10.0, 11.0), (TWICE, 1): (10.0, 20.5), (TWICE, 2): (16.0, 18.0)}
    facts.absences = [("w1", 11.5, 20.0)]
    told(facts)
    return facts


def rules(facts):
    return {violation.split(":")[0] for violation in check(facts)}


def test_a_good_world_has_no_violation(world):
    assert check(world) == []


def test_a_deadly_job_that_used_up_its_budget_is_fine(world):
    deadly(world, world.max_attempts)
    assert check(world) == []


@pytest.mark.parametrize("more", [-1, 1])
def test_a_deadly_job_that_was_tried_too_seldom_or_too_often_is_found(world, more):
    deadly(world, world.max_attempts + more)
    assert rules(world) == {"platform faults have a budget"}


def test_a_deadly_job_that_is_no_dead_letter_is_found(world):
    world.dead.remove(deadly(world, world.max_attempts))
    assert "platform faults have a budget" in rules(world)


def test_an_accepted_job_that_is_unknown_is_found(world):
    del world.jobs[ONCE]
    assert "accepted jobs end" in rules(world)


@pytest.mark.parametrize("status", ["Queued", "Running"])
def test_a_job_that_has_not_ended_is_found(world, status):
    world.jobs[ONCE] = ("user", status, 1, None)
    assert {"accepted jobs end", "records become jobs", "results are visible once"} <= rules(world)


def test_an_accepted_job_without_record_is_found(world):
    world.intake.remove(ONCE)
    assert rules(world) == {"records become jobs"}


def test_a_record_that_never_became_a_job_is_found(world):
    world.intake.append("11111111-0000-4000-8000-000000000009")
    assert rules(world) == {"records become jobs"}


def test_a_job_that_nobody_asked_for_is_found(world):
    world.intake = [key for key in world.intake if key != ONCE]
    del world.asked[ONCE]
    assert rules(world) == {"nothing comes from nowhere"}


def test_two_jobs_of_one_idempotency_key_are_found(world):
    world.differing = [(7, ONCE, TWICE)]
    assert rules(world) == {"nothing comes from nowhere"}


@pytest.mark.parametrize("rows", [[], [("user", ONCE, "Failed")], [("user2", ONCE, "Finished")],
                                  [("user", ONCE, "Finished"), ("user2", ONCE, "Finished")]])
def test_a_result_that_is_not_visible_exactly_once_is_found(world, rows):
    world.resultados = [row for row in world.resultados if row[1] != ONCE] + rows
    assert rules(world) == {"results are visible once"}


def test_a_visible_result_without_job_is_found(world):
    world.resultados.append(("user", "11111111-0000-4000-8000-000000000009", "Finished"))
    assert rules(world) == {"results are visible once"}


def test_a_result_without_record_is_found(world):
    world.records = [each for each in world.records if each[0] != ONCE]
    assert rules(world) == {"results have their record"}


def test_a_record_of_a_fenced_attempt_is_found(world):
    world.records.append(record(TWICE, "Finished", 1, "ok"))
    assert rules(world) == {"records are of results"}


def test_a_record_of_a_retried_attempt_is_found(world):
    world.records.append(record(BROKEN, "Failed", 1, "exit"))
    assert rules(world) == {"records are of results"}


def test_a_record_of_a_replayed_jobs_earlier_result_is_fine(world):
    world.asked[TWICE] = dataclasses.replace(world.asked[TWICE], replays=("queued",))
    world.attempts[TWICE][1] = Attempt("a", 10, 15, "ok", "", True)
    world.records.append(record(TWICE, "Finished", 1, "ok"))
    assert check(world) == []


def test_a_cancelled_jobs_record_may_be_of_an_attempt_that_would_have_been_tried_again(world):
    world.jobs[BROKEN] = ("user2", "Cancelled", 2, "cancelled")
    world.resultados[2] = ("user2", BROKEN, "Cancelled")
    world.dead.clear()
    world.records[3] = record(BROKEN, "Cancelled", 2, "cancelled")
    world.asked[BROKEN] = dataclasses.replace(world.asked[BROKEN], cancels=("requested",))
    assert check(world) == []
    world.records.append(record(BROKEN, "Cancelled", 1, "cancelled"))
    assert "records are of results" in rules(world)


def test_a_cancelled_jobs_record_may_be_of_an_attempt_whose_worker_was_lost(world):
    world.asked[ONCE] = Asked("quick", 0, cancels=("requested",))
    world.jobs[ONCE] = ("user", "Cancelled", 1, "cancelled")
    world.attempts[ONCE][1] = lost("a", 10, 11)
    world.resultados[0] = ("user", ONCE, "Cancelled")
    world.records[0] = record(ONCE, "Cancelled", 1, "cancelled")
    assert check(world) == []


def test_a_result_that_was_told_twice_is_fine(world):
    deliver(world, SECOND)
    assert check(world) == []


@pytest.mark.parametrize("status", [None, 503])
@pytest.mark.parametrize("which", [FIRST, SECOND])
def test_a_result_that_nobody_took_is_found(world, which, status):
    world.deliveries = [each for each in world.deliveries if (each.id, each.status) != (which, 200)]
    deliver(world, which, status)
    assert rules(world) == {"ends are told"}


@pytest.mark.parametrize("state", ["waiting", "given_up"])
def test_a_result_that_is_told_no_more_or_not_yet_is_found(world, state):
    world.events[FIRST].state = state
    assert rules(world) == {"ends are told"}


@pytest.mark.parametrize("which", [FIRST, SECOND])
def test_a_result_that_was_never_to_be_told_is_found(world, which):
    world.deliveries = [each for each in world.deliveries if each.id != which]
    del world.events[which]
    assert rules(world) == {"ends are told"}


@pytest.mark.parametrize("code", ["lost", "exit"])
def test_a_fenced_or_retried_attempt_that_is_told_is_found(world, code):
    world.asked[TOLD] = Asked("flaky", 1)
    world.records = [each for each in world.records if each != record(TOLD, "Failed", 1, "exit")]
    world.attempts[TOLD][1] = lost("a", 40, 41) if code == "lost" else Attempt("a", 40, 41, code, "", True)
    assert rules(world) == {"what is told is a result"}


@pytest.mark.parametrize("status, code", [("Finished", "ok"), ("Cancelled", "cancelled")])
def test_another_end_than_the_visible_one_that_is_told_is_found(world, status, code):
    world.deliveries, world.events[FIRST] = world.deliveries[3:], event(TOLD, status, 1, code)
    deliver(world, FIRST)
    assert rules(world) == {"what is told is a result"}


def test_an_end_that_is_told_of_a_job_that_ended_otherwise_since_is_found(world):
    world.jobs[TOLD] = ("user", "Cancelled", 2, "cancelled")
    assert "what is told is a result" in rules(world)


def test_what_is_told_under_the_id_of_another_attempt_is_found(world):
    world.events[FIRST].body = world.events[SECOND].body
    world.deliveries = world.deliveries[3:]
    deliver(world, FIRST)
    assert rules(world) == {"what is told is a result"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", event("11111111-0000-4000-8000-000000000009", "Finished", 1, "ok").body.encode()])
def test_what_is_told_of_no_job_is_found(world, body):
    world.deliveries.append(Delivery("/told", SECOND, "100", signature(SECRET, SECOND, "100", body), body, 200))
    assert rules(world) == {"what is told is a result"}


def test_a_body_that_differs_from_time_to_time_is_found(world):
    world.events[SECOND].body += " "
    deliver(world, SECOND)
    assert rules(world) == {"what is told is a result"}


@pytest.mark.parametrize("spoil", [lambda facts: facts.hooked.update({TOLD: "/other"}), lambda facts: facts.hooked.clear(),
                                   lambda facts: setattr(facts.events[SECOND], "path", "/other")])
def test_what_is_told_to_somebody_else_is_found(world, spoil):
    spoil(world)
    assert rules(world) == {"what is told is a result"}


@pytest.mark.parametrize("wrong", [None, "v1,", signature(SECRET, FIRST, "100", b"")])
def test_a_signature_that_does_not_hold_is_found(world, wrong):
    world.deliveries[-1].signature = wrong
    assert rules(world) == {"what is told is signed"}


@pytest.mark.parametrize("spoil", [{"timestamp": "101"}, {"signature": signature("whsec_" + "A" * 44, SECOND, "100", b"")}])
def test_a_signature_for_another_moment_or_by_another_secret_is_found(world, spoil):
    world.deliveries[-1] = dataclasses.replace(world.deliveries[-1], **spoil)
    assert rules(world) == {"what is told is signed"}


def test_the_signature_is_that_of_the_standard():
    assert signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}') == \
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_without_secret_is_not_signed(world):
    world.hooks["/told"] = None
    assert rules(world) == {"what is told is signed"}
    world.deliveries = [dataclasses.replace(each, signature=None) for each in world.deliveries]
    assert check(world) == []


def test_a_second_attempt_without_reason_is_found(world):
    world.attempts[TWICE][1] = Attempt("a", 10, 15, "ok", "", True)
    assert "attempts have a reason" in rules(world)


def test_an_attempt_that_is_missing_from_the_history_is_found(world):
    del world.attempts[TWICE][1]
    assert "attempts have a reason" in rules(world)


def test_more_retries_than_were_asked_for_are_found(world):
    world.asked[BROKEN] = Asked("broken", 0)
    assert rules(world) == {"attempts have a reason"}


def test_a_fence_that_went_back_is_found(world):
    world.attempts[ONCE][3] = Attempt("b", 30, 31, "ok", "", True)
    assert "attempts have a reason" in rules(world)


def test_an_outcome_that_is_another_jobs_is_found(world):
    world.asked[ONCE] = Asked("broken", 0)
    assert "outcomes are those of the kind" in rules(world)


def test_a_job_that_ended_otherwise_than_its_cancel_was_answered_is_found(world):
    world.asked[ONCE] = Asked("quick", 0, cancels=("done",))
    assert rules(world) == {"outcomes are those of the kind"}


def test_a_dead_letter_that_is_alive_is_found(world):
    world.dead.add(ONCE)
    assert rules(world) == {"outcomes are those of the kind"}


def test_a_log_that_lacks_its_end_is_found(world):
    world.logs[ONCE, 1] = f"start {ONCE} 1 10.1\n"
    assert rules(world) == {"traces are whole"}


def test_a_log_that_has_the_trace_of_another_attempt_is_found(world):
    world.logs[TWICE, 2] += log(TWICE, 1, 10.1, 17.0)
    assert "traces are whole" in rules(world)


def test_output_of_a_fenced_attempt_after_its_end_is_found(world):
    world.logs[TWICE, 1] = log(TWICE, 1, 10.1, 19.0)
    assert "fenced attempts have no effect" in rules(world)


def test_a_fenced_attempt_that_its_worker_wrote_to_is_found(world):
    world.attempts[TWICE][1].ended = True
    assert rules(world) == {"fenced attempts have no effect"}


def test_a_fenced_attempt_that_runs_on_after_its_workers_return_is_found(world):
    world.intervals[TWICE, 1] = (10.0, 40.0)
    assert rules(world) == {"overlaps end"}


@pytest.mark.parametrize("absences", [[], [("w2", 11.5, 20.5)], [("w1", 11.5, 15.1)], [("w1", 20.4, 30.0)], [("w1", 14.0, 14.5), ("w1", 20.1, 21.0)]])
def test_a_fenced_attempt_that_runs_on_beside_a_worker_that_hears_is_found(world, absences):
    world.absences = absences
    assert rules(world) == {"overlaps end"}


@pytest.mark.parametrize("absences", [[("w1", 11.5, 25.0)], [("w1", 18.0, 19.0)], [("w1", 12.0, 14.0), ("w1", 14.5, 18.0), ("w1", 17.0, 18.5)]])
def test_a_fenced_attempt_that_ends_in_its_workers_absence_or_soon_after_is_fine(world, absences):
    world.absences = absences
    assert check(world) == []


def test_a_concurrency_limit_that_was_exceeded_is_found(world):
    other = "11111111-0000-4000-8000-000000000005"
    world.asked[other] = Asked("nap", 0, ("user", "g", 1, False))
    world.jobs[other] = ("user", "Finished", 1, "ok")
    world.intake.append(other)
    world.attempts[other] = {1: Attempt("a", 17, 19, "ok", "", True)}
    world.logs[other, 1] = log(other, 1, 17.1, 18.9)
    world.resultados.append(("user", other, "Finished"))
    world.records.append(record(other, "Finished", 1, "ok"))
    found = check(world)
    assert len(found) == 2 and rules(world) == {"concurrency limits hold"}, found


@pytest.mark.parametrize("spoil", [lambda facts: facts.leftovers.append("mount /x"), lambda facts: facts.problems.append("w1 ended"),
                                   lambda facts: facts.leftover_rows.update(outbox=[ONCE])])
def test_what_is_left_behind_is_found(world, spoil):
    spoil(world)
    assert rules(world) == {"nothing is left"}

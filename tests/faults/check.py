"""What must hold after a run, whatever happened in it. Pure: facts in (gather.Facts), a list of violations out."""

import base64
import hmac
import json

from gather import FINAL, trace

# As long as a worker that can hear of it may need to end a job that was taken over: a heartbeat, and what a busy machine adds to it.
HEARTBEATS = 1 / 3
BUSY_S = 4
CLOCK_S = 0.5  # between a moment in a trace and the commit that the same moment is compared with


def lost(attempt):
    return attempt.code == "lost"


def attempts_of(facts, key):
    return facts.attempts.get(key, {})


def replayed(facts, key):
    """Whether a replay took effect, or may have."""
    return any(answer in ("queued", None) for answer in facts.asked[key].replays) if key in facts.asked else False


def accepted_jobs_end(facts):
    for key, asked in facts.asked.items():
        job = facts.jobs.get(key)
        if job is None:
            yield f"{key}: was accepted ({asked.kind}, number {asked.number}) and is not in the ledger"
        elif job[1] not in FINAL:
            yield f"{key}: was accepted ({asked.kind}, number {asked.number}) and is {job[1]}"


def records_become_jobs(facts):
    intake = {key for key in facts.intake if key}
    for key in intake:
        if key not in facts.jobs:
            yield f"{key}: has a record in trabajos and is not in the ledger"
        elif facts.jobs[key][1] not in FINAL:
            yield f"{key}: has a record in trabajos and is {facts.jobs[key][1]}"
    for key in {key for key, asked in facts.asked.items() if asked.recorded} - intake:
        yield f"{key}: was accepted and has no record in trabajos"


def nothing_comes_from_nowhere(facts):
    known = set(facts.asked) | facts.possible | {key for key in facts.intake if key}
    for key in set(facts.jobs) - known:
        yield f"{key}: is in the ledger ({facts.jobs[key]}), and nobody asked for it"
    for number, key, other in facts.differing:
        yield f"{key}: one idempotency key gave {other} too (number {number})"


def results_are_visible_once(facts):
    seen = {}
    for usuario, key, status in facts.resultados:
        seen.setdefault(key, []).append((usuario, status))
    for key, (usuario, status, *_) in facts.jobs.items():
        rows = seen.get(key, [])
        wanted = [(usuario, status)] if status in FINAL else []
        if rows != wanted:
            yield f"{key}: is {status} of {usuario}, and resultados has {rows}"
    for key in set(seen) - set(facts.jobs):
        yield f"{key}: is in resultados, and not in the ledger"


def results_have_their_record(facts):
    highest = {}
    for key, value in facts.records:
        if key not in highest or value["attempt"] >= highest[key]["attempt"]:
            highest[key] = value
    for key, (_, status, attempt, code) in facts.jobs.items():
        if status not in FINAL:
            continue
        value = highest.get(key)
        if value is None:
            yield f"{key}: is {status}, and resultados, the topic, has no record of it"
        elif (value["code"], value["attempt"], value["outcome"]["code"]) != (status, attempt, code):
            yield (f"{key}: is {status} ({code}) by attempt {attempt}, and its newest record says {value['code']}"
                   f" ({value['outcome']['code']}) by attempt {value['attempt']}")


def is_cancelled_with(job, attempt, value):
    """An attempt that was lost, or that would have been tried again, is the last of a job that was cancelled meanwhile."""
    return value["code"] == "Cancelled" and (lost(attempt) or job[1:3] == ("Cancelled", value["attempt"]))


def never_visible(facts, key, value, what):
    """What shows that it tells of no result that was visible at some time, but of a fenced or retried attempt, or of none."""
    number = value["attempt"]
    attempt = attempts_of(facts, key).get(number)
    if attempt is None:
        unrun = value["code"] == "Cancelled" or (value["code"] == "Failed" and number == 0)
        if not unrun:
            yield f"{key}: a {what} says {value['code']} by attempt {number}, which nobody made"
    elif attempt.code != value["outcome"]["code"] and not is_cancelled_with(facts.jobs[key], attempt, value):
        yield f"{key}: a {what} of attempt {number} says {value['outcome']['code']}, but the attempt ended with {attempt.code}"
    if number < facts.jobs[key][2] and not replayed(facts, key):
        yield f"{key}: a {what} of attempt {number}, though {facts.jobs[key][2]} is the one that counts"


def records_are_of_results(facts):
    """Each record is one of an attempt that was visible at some time; never of a fenced or retried one."""
    for key, value in facts.records:
        if key not in facts.jobs:
            yield f"{key}: has a record in resultados and is not in the ledger"
            continue
        if not isinstance(value.get("timeJobPosted"), int) or not isinstance(value.get("timeExecution"), int):
            yield f"{key}: its record lacks a number: {value}"
        yield from never_visible(facts, key, value, "record")


def event_id(key, attempt):
    return f"msg_{key.replace('-', '')}_{attempt}"


def ends_are_told(facts):
    """Each result of a job with a webhook was taken by whom it is told, and nothing else counts as told."""
    taken = {each.id for each in facts.deliveries if each.status == 200}
    results = {(key, value["attempt"]) for key, value in facts.records}
    results |= {(key, attempt) for key, (_, status, attempt, _) in facts.jobs.items() if status in FINAL}
    for key, attempt in sorted(results):
        if key in facts.hooked and event_id(key, attempt) not in facts.events:
            yield f"{key}: has a webhook, and its end by attempt {attempt} is not to be told"
    for which, event in facts.events.items():
        if event.state != "delivered":
            yield f"{event.key}: its webhook {which} is {event.state} after {event.tries} tries"
        elif which not in taken:
            yield f"{event.key}: its webhook {which} is noted as delivered, and nobody took it"


def told_in(body):
    """Of what a webhook tells: (key, as a record has it); None: nothing that can be read."""
    try:
        data = json.loads(body)["data"]
        return data["key"], {"code": data["status"], "attempt": data["attempt"], "outcome": {"code": data["outcome"]["code"]}}
    except (ValueError, KeyError, TypeError):
        return None


def what_is_told_is_a_result(facts):
    """Of whom it says, to whom that job wanted it told, the same each time; never of a fenced or retried attempt."""
    for each in {(each.id, each.path, each.body): each for each in facts.deliveries}.values():
        told, event = told_in(each.body), facts.events.get(each.id)
        if told is None or told[0] not in facts.jobs:
            yield f"{each.path} was told of no job in the ledger: {each.body!r}"
            continue
        key, value = told
        if each.id != event_id(key, value["attempt"]):
            yield f"{key}: what is told of attempt {value['attempt']} is called {each.id}"
        if event is None or (event.path, event.body.encode()) != (each.path, each.body):
            yield f"{key}: {each.path} was told as {each.id} what is not in the ledger: {each.body!r}"
        if each.path not in facts.hooks or (key in facts.asked and facts.hooked.get(key) != each.path):
            yield f"{key}: {each.path} was told of it, and its webhook is {facts.hooked.get(key)}"
        yield from never_visible(facts, key, value, "webhook")
        _, status, attempt, code = facts.jobs[key]
        if value["attempt"] == attempt and (value["code"], value["outcome"]["code"]) != (status, code):
            yield f"{key}: is {status} ({code}), and {each.path} was told of {value['code']} ({value['outcome']['code']})"


def signature(secret, which, timestamp, body):
    """https://www.standardwebhooks.com"""
    digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), f"{which}.{timestamp}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def what_is_told_is_signed(facts):
    for each in facts.deliveries:
        secret = facts.hooks.get(each.path)
        wanted = signature(secret, each.id, each.timestamp, each.body) if secret else None
        if each.signature != wanted:
            yield f"{each.path}: what came as {each.id} of {each.timestamp} is signed {each.signature}, and not {wanted}"


FINAL_CODES = ("ok", "no_plan", "not_found", "denied", "cancelled")


def attempts_have_a_reason(facts):
    """An attempt follows another one only where that was lost, may be retried, or was replayed."""
    for key, (_, status, last, _) in facts.jobs.items():
        attempts = attempts_of(facts, key)
        if attempts and max(attempts) > last:
            yield f"{key}: has attempt {max(attempts)}, but its fence is {last}"
        if replayed(facts, key):
            continue
        for number in range(1, last + 1):
            if number not in attempts:
                if not (number == last and status == "Cancelled"):
                    yield f"{key}: attempt {number} of {last} is missing from the history"
            elif number < last and attempts[number].code in FINAL_CODES:
                yield f"{key}: attempt {number} ended with {attempts[number].code}, and yet there is attempt {number + 1}"
        own = sum(1 for attempt in attempts.values() if attempt.code == "exit")
        if key in facts.asked and own > facts.asked[key].retries + 1:
            yield f"{key}: failed {own} times by itself, but only {facts.asked[key].retries} retries were asked for"


def platform_faults_have_a_budget(facts):
    """A job is given up by the platform after so many of its faults, no sooner and no later; to be given back is none."""
    for key, (_, status, last, _) in facts.jobs.items():
        if replayed(facts, key):
            continue
        attempts = attempts_of(facts, key)
        faults = sum(1 for each in attempts.values() if each.blame == "platform" and not each.message.startswith("given back"))
        given_up = status == "Failed" and last in attempts and attempts[last].blame == "platform"
        if faults > facts.max_attempts or (given_up and faults < facts.max_attempts):
            yield f"{key}: is {status} after {faults} faults of the platform, and {facts.max_attempts} are its budget"
        if given_up and key not in facts.dead:
            yield f"{key}: was given up after {faults} faults of the platform, and is no dead letter"


def outcomes_are_those_of_the_kind(facts):
    for key, asked in facts.asked.items():
        if key not in facts.jobs or facts.jobs[key][1] not in FINAL:
            continue
        _, status, _, code = facts.jobs[key]
        cancelled = any(answer in ("requested", "done", None) for answer in asked.cancels) or (asked.group and asked.group[3])
        if "done" in asked.cancels and not replayed(facts, key) and status != "Cancelled":
            yield f"{key}: its cancel was done, and it ended {status} ({code})"
        wanted = [{"broken": ("Failed", "exit"), "deadly": ("Failed", "lost")}.get(asked.kind, ("Finished", "ok"))]
        if cancelled:
            wanted.append(("Cancelled", "cancelled"))
        if (status, code) in wanted:
            continue
        # the budget of platform faults may be used up
        if status == "Failed" and code in ("lost", "fetch", "sandbox", "disk") and key in facts.dead:
            continue
        yield f"{key}: a job of kind {asked.kind} ended {status} ({code})"
    for key in facts.dead:
        if key not in facts.jobs or facts.jobs[key][1] != "Failed":
            yield f"{key}: is among the dead letters and is {facts.jobs.get(key, ('', 'unknown'))[1]}"


def traces_are_whole(facts):
    for key, (_, status, last, code) in facts.jobs.items():
        if key not in facts.asked:
            continue
        lines = trace(facts.logs.get((key, last), ""))
        if (status, code) in (("Finished", "ok"), ("Failed", "exit")) and [line[0] for line in lines] != ["start", "end"]:
            yield f"{key}: attempt {last} ended with {code}, and its log is {facts.logs.get((key, last))!r}"
    for (key, number), text in facts.logs.items():
        for what, own_key, own_number, _ in trace(text):
            if (own_key, own_number) != (key, number):
                yield f"{key}: in the log of attempt {number} stands {what} of {own_key}, attempt {own_number}"


def fenced_attempts_have_no_effect(facts):
    for key, attempts in facts.attempts.items():
        for number, attempt in attempts.items():
            if attempt.finished is None:
                continue
            if lost(attempt) and attempt.ended:
                yield f"{key}: attempt {number} was lost, and its worker has written its end nevertheless"
            for what, _, _, moment in trace(facts.logs.get((key, number), "")):
                if moment > attempt.finished + CLOCK_S:
                    yield (f"{key}: attempt {number} was over at {attempt.finished:.3f} ({attempt.code}), and its log has {what}"
                           f" of {moment - attempt.finished:.3f} s later")


def overlaps(facts):
    """How many attempts had processes when they had been taken over already."""
    known = [(attempts_of(facts, key).get(number), last) for (key, number), (_, last) in facts.intervals.items()]
    return sum(1 for attempt, last in known if attempt and attempt.finished and lost(attempt) and last > attempt.finished)


def stretches(begin, end, absences):
    """How long each stretch from begin to end is that no absence covers."""
    for away, back in sorted(absences):
        if away > begin:
            yield min(away, end) - begin
        begin = max(begin, back)
        if begin >= end:
            return
    yield end - begin


def overlaps_end(facts):
    """An attempt that was taken over has no processes any more soon after its worker can hear of it."""
    bound = facts.lease_s * HEARTBEATS + BUSY_S
    for (key, number), (_, last) in facts.intervals.items():
        attempt = attempts_of(facts, key).get(number)
        if attempt is None or attempt.finished is None or last <= attempt.finished + bound:
            continue
        member = facts.members.get(attempt.worker)
        longest = max(stretches(attempt.finished, last, [(away, back) for name, away, back in facts.absences if name == member]),
                      default=0)
        if longest > bound:
            yield (f"{key}: attempt {number} was over at {attempt.finished:.3f} ({attempt.code}), and its processes ran for"
                   f" {longest:.1f} s more while {member} could hear of it")


def most_at_once(intervals):
    moments = sorted([(begin, 1) for begin, *_ in intervals] + [(end, -1) for _, end, *_ in intervals])
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return most


def meeting(intervals):
    """Those that had not ended when the next one began, and for how long they went on."""
    met = []
    for begin, _, key in intervals:
        met += [f"{other} and {key} for {until - begin:.3f} s" for since, until, other in intervals if other != key and since <= begin < until]
    return "; ".join(met)


def concurrency_limits_hold(facts):
    by_ledger, by_trace = {}, {}
    for key, asked in facts.asked.items():
        if not asked.group:
            continue
        for number, attempt in attempts_of(facts, key).items():
            if attempt.finished is None:
                continue
            by_ledger.setdefault(asked.group, []).append((attempt.started, attempt.finished, key))
            lines = trace(facts.logs.get((key, number), ""))
            if not lost(attempt) and [line[0] for line in lines] == ["start", "end"]:
                by_trace.setdefault(asked.group, []).append((lines[0][3], lines[1][3], key))
    for what, groups in (("ledger", by_ledger), ("traces", by_trace)):
        for (user, name, limit, _), intervals in groups.items():
            if most_at_once(intervals) > limit:
                yield f"concurrency key {name} of {user}: {most_at_once(intervals)} ran at once by the {what}, {limit} may: {meeting(intervals)}"


def nothing_is_left(facts):
    for table, keys in facts.leftover_rows.items():
        if keys:
            yield f"{len(keys)} rows are left in {table} at rest, the first of {keys[0]}"
    yield from (f"left behind: {each}" for each in facts.leftovers)
    yield from facts.problems


RULES = (accepted_jobs_end, records_become_jobs, nothing_comes_from_nowhere, results_are_visible_once, results_have_their_record,
         records_are_of_results, ends_are_told, what_is_told_is_a_result, what_is_told_is_signed, attempts_have_a_reason,
         platform_faults_have_a_budget, outcomes_are_those_of_the_kind, traces_are_whole, fenced_attempts_have_no_effect, overlaps_end,
         concurrency_limits_hold, nothing_is_left)


def check(facts):
    """All violations, each with the name of its rule."""
    return [f"{rule.__name__.replace('_', ' ')}: {violation}" for rule in RULES for violation in rule(facts)]

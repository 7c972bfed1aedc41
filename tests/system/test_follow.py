"""Logs of jobs: followed while they run, resumed, and downloaded. (Every state of a job, one step after the other: tests/unit/test_follow.c.)"""

import base64
import concurrent.futures
import dataclasses
import itertools
import json
import threading
import uuid

import pytest
import requests

import trabajos

EVENTS = {"Accept": "text/event-stream"}
NEVER = "while [ ! -e /never ]; do sleep 0.05; done"
COUNT = "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.05; done"


@dataclasses.dataclass
class Event:
    name: str
    id: str
    data: dict

    def bytes(self):
        return self.data["text"].encode() if "text" in self.data else base64.b64decode(self.data["base64"])


def path(key):
    return f"/api/v1/trabajos/{key}/log"


def ask(user, key, url=None, headers=None, **params):
    """A streamed answer, whatever it is."""
    user.token()
    return user.session.get((url or user.url) + path(key), params=params, headers=headers, stream=True, timeout=60)


def events_of(answer):
    """Until the stream ends; comments and the time to wait are passed over."""
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/event-stream", answer.text
    fields = {}
    for line in answer.iter_lines(chunk_size=None):
        name, _, value = line.decode().partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields.get("event"), fields.get("id"), json.loads(fields["data"]))
        if not name:
            fields = {}


def follow(user, key, url=None, headers=None, **params):
    """All events of a log until it ends."""
    with ask(user, key, url, {**EVENTS, **(headers or {})}, **params) as answer:
        return list(events_of(answer))


def printed(events, stream=None):
    return b"".join(event.bytes() for event in events if event.name == "output" and stream in (None, event.data["stream"]))


def statuses(events):
    return [(event.data["status"], event.data["attempt"]) for event in events if event.name == "status"]


def in_order(events):
    places = [(event.data["attempt"], event.data["seq"]) for event in events if event.name == "output"]
    return places == sorted(set(places)) and all(event.id == f"{event.data['attempt']}.{event.data['seq']}"
                                                 for event in events if event.name == "output")


def test_a_job_is_followed_from_the_queue_to_its_end(user, no_worker, script):
    text = "printf '\\033[31mred\\033[0m ñ€\\n'; echo bad >&2; sleep 0.3; printf '\\377\\376'; exit 3"
    key = user.add(script(text).url)
    with ask(user, key, headers=EVENTS) as answer, concurrent.futures.ThreadPoolExecutor() as pool:
        assert answer.headers["Cache-Control"] == "no-store" and "Content-Length" not in answer.headers
        stream = events_of(answer)
        assert next(stream).data == {"status": "Queued", "attempt": 0}
        plain = pool.submit(lambda: ask(user, key, follow="1").content)
        with trabajos.running(trabajos.worker(user.stack, "late")):
            events = list(stream)
            everything = plain.result()
    assert in_order(events) and statuses(events) == [("Running", 1), ("Failed", 1)]
    assert printed(events, "stdout") == "\033[31mred\033[0m ñ€\n".encode() + b"\xff\xfe" and printed(events, "stderr") == b"bad\n"
    assert any("base64" in event.data for event in events) and any(event.data.get("text", "").startswith("\033[31m") for event in events)
    assert events[-1].name == "end" and events[-1].data == {"status": "Failed", "attempt": 1, "outcome": user.outcome(key)}
    assert everything == printed(events) and user.get(path(key)).content == everything


def test_a_stream_that_breaks_off_goes_on_where_it_was(user, worker, script):
    key = user.add(script(COUNT).url)
    seen, last = [], None
    while not seen or seen[-1].name != "end":
        with ask(user, key, headers={**EVENTS, **({"Last-Event-ID": last} if last else {})}) as answer:
            outputs = 0
            for event in events_of(answer):
                seen.append(event)
                outputs += event.name == "output"
                last = event.id or last
                if outputs == 5:
                    break
    assert in_order(seen) and printed(seen) == "".join(f"line {number}\n" for number in range(40)).encode()
    assert not printed(follow(user, key, headers={"Last-Event-ID": last}))
    for bad in ("1", "x.1", "1.-1", "99999999999.1", "7.0"):
        with ask(user, key, headers={**EVENTS, "Last-Event-ID": bad}) as answer:
            assert answer.status_code == 400 and "Last-Event-ID" in answer.text


def test_what_is_followed_is_written_at_once_and_what_nobody_follows_is_not(stack, user, worker, script):
    url = script("i=0; while [ $i -lt 60 ]; do echo $i; i=$((i+1)); sleep 0.05; done").url

    def statements(key):
        return stack.sql("SELECT count(DISTINCT xmin::text) FROM logs WHERE key = %s", key)[0][0]
    quiet, loud = user.add(url), user.add(url)
    follow(user, loud)
    assert user.await_end(quiet) == "Finished"
    assert user.log(quiet) == user.log(loud) and 2 * statements(quiet) < statements(loud)


def test_an_attempt_that_is_lost_and_tried_again_is_followed_through(user, no_worker, script):
    key = user.add(script(f"echo attempt $TRABAJO_ATTEMPT; [ $TRABAJO_ATTEMPT = 2 ] || {NEVER}").url)
    first, second = (trabajos.worker(user.stack, f"follow-{name}", LEASE_S=3) for name in ("first", "second"))
    with trabajos.running(first), ask(user, key, headers=EVENTS) as answer:
        stream = events_of(answer)
        before = list(itertools.takewhile(lambda event: event.name != "output", stream))
        first.kill()
        with trabajos.running(second):
            after = list(stream)
    assert ("Running", 1) in statuses(before) and statuses(after)[-2:] == [("Running", 2), ("Finished", 2)]
    assert printed(after) == b"attempt 2\n" and after[-1].data["attempt"] == 2
    assert user.get(path(key), attempt=1).content == b"attempt 1\n" and user.get(path(key)).content == b"attempt 2\n"
    alone = follow(user, key, attempt=1)
    assert printed(alone) == b"attempt 1\n" and alone[-1].data["outcome"]["code"] == "lost"


def test_a_log_is_a_download_once_its_attempt_has_ended(stack, user, users, worker, script):
    key, _, _ = user.run(script("for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.1; done; seq 20000").url)
    answer = user.get(path(key))
    whole, tag = answer.content, answer.headers["ETag"]
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8" and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert int(answer.headers["Content-Length"]) == len(whole) > 100000 and answer.headers["Trabajos-Attempt"] == "1"
    assert whole.decode() == user.log(key) and user.get(path(key), stream="stderr").text == user.log(key, 2)
    for first, last in ((0, 0), (5, 40), (16383, 16384), (50000, 99999), (len(whole) - 1, len(whole) - 1)):
        part = user.get(path(key), headers={"Range": f"bytes={first}-{last}"})
        assert part.status_code == 206 and part.content == whole[first:last + 1]
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
    part = user.get(path(key), headers={"Range": "bytes=6-9", "If-Range": tag}, stream="stderr")
    assert part.status_code == 200, "another representation has another tag"
    assert user.get(path(key), headers={"Range": "bytes=6-9"}, stream="stderr").content == user.log(key, 2).encode()[6:10]
    assert user.get(path(key), headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    again = user.get(path(key), headers={"If-None-Match": tag})
    assert again.status_code == 304 and not again.content
    head = user.get(path(key), method="HEAD")
    assert head.status_code == 200 and head.headers["Content-Length"] == str(len(whole)) and not head.content
    assert users["admin"].get(path(key)).content == whole
    assert user.get(path(key), attempt=2).status_code == 404


@pytest.mark.parametrize("headers, params", [({}, {}), (EVENTS, {}), ({}, {"follow": "1"}), ({"Range": "bytes=0-1"}, {"attempt": "1"})])
def test_anothers_log_is_one_that_does_not_exist(users, user, worker, script, headers, params):
    key, _, _ = user.run(script("echo mine").url)
    answers = [users["user2"].get(path(each), headers=headers, **params) for each in (key, uuid.uuid4())]
    bodies = [{name: value for name, value in answer.json().items() if name != "request_id"} for answer in answers]
    assert [answer.status_code for answer in answers] == [404, 404] and bodies[0] == bodies[1]
    assert requests.get(user.url + path(key), headers=headers, params=params, timeout=20).status_code == 401


@pytest.mark.parametrize("params, word", [({"attempt": "0"}, "attempt"), ({"attempt": "x"}, "attempt"), ({"attempt": "99999999999"}, "attempt"),
                                          ({"stream": "both"}, "stream"), ({"follow": "yes"}, "follow"), ({"follow": ["1", "1"]}, "follow")])
def test_a_bad_parameter_is_named(user, params, word):
    answer = user.get(path(uuid.uuid4()), **params)
    assert answer.status_code == 400 and word in answer.json()["detail"]


def test_output_beyond_the_cap_is_said_to_be_missing(user, worker, script):
    key, _, _ = user.run(script("head -c 1500000 /dev/zero | tr '\\0' x").url)
    answer = user.get(path(key))
    assert answer.status_code == 200 and len(answer.content) == 1 << 20 and answer.headers["Trabajos-Log-Truncated"] == str(1500000 - (1 << 20))
    events = follow(user, key)
    assert len(printed(events)) == 1 << 20
    assert [event.data for event in events if event.name == "truncated"] == [{"attempt": 1, "bytes": 1500000 - (1 << 20)}]


def test_the_log_of_a_taken_result_is_the_other_jobs(user, worker, script):
    repository = script("echo made once; date +%N")
    first, _, _ = user.run(repository.url, ref=repository.commit, reuse="true")
    second, _, outcome = user.run(repository.url, ref=repository.commit, reuse="true")
    assert "not run" in outcome["message"]
    assert user.get(path(second)).content == user.get(path(first)).content == printed(follow(user, second)) != b""


def test_a_frontend_that_stops_hands_its_followers_to_another(stack, user, worker, script):
    key = user.add(script(f"{COUNT}; sleep 1; echo over").url)
    leaving, staying = (trabajos.frontend(stack, name) for name in ("leaving", "staying"))
    with trabajos.running(leaving, staying):
        with ask(user, key, leaving.url, EVENTS) as answer, ask(user, key, leaving.url, follow="1") as plain:
            stream = events_of(answer)
            before = list(itertools.takewhile(lambda event: event.name != "output" or event.data["seq"] < 3, stream))
            stopped = threading.Thread(target=leaving.stop)
            stopped.start()
            rest = list(stream)  # ends in good order, without a word of the job's end
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                plain.content  # pylint: disable=pointless-statement
            stopped.join()
        assert leaving.process.returncode == 0 and "end" not in [event.name for event in rest]
        seen = [*before, *rest]
        last = [event.id for event in seen if event.id][-1]
        after = follow(user, key, staying.url, {"Last-Event-ID": last})
    whole = user.log(key).encode()
    assert after[-1].name == "end" and printed(after) and whole.endswith(printed(after)) and whole.endswith(b"over\n")
    place = {(event.data["attempt"], event.data["seq"]) for event in after if event.name == "output"}
    assert last not in {f"{attempt}.{seq}" for attempt, seq in place}


def test_an_outage_of_postgresql_costs_followers_no_output(stack, frontend, user, worker, script):
    key = user.add(script("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done").url)
    with ask(user, key, headers=EVENTS) as answer:
        stream = events_of(answer)
        before = list(itertools.takewhile(lambda event: event.name != "output", stream))
        stack.run("stop", "postgres")
        try:
            late = user.get(path(key), headers=EVENTS)
            assert late.status_code == 503 and "Retry-After" in late.headers
        finally:
            stack.run("start", "postgres")
        after = list(stream)
    frontend.await_ready()
    worker.await_ready()
    assert after[-1].name == "end" and in_order(after) and ("Running", 1) in statuses(before)
    assert user.log(key) == "1\n2\n3\n4\n5\n6\n7\n8\n" and user.log(key).encode().endswith(printed(after))


def test_a_user_follows_so_many_logs_and_others_are_not_concerned(stack, users, worker, script):
    user, other = users["user"], users["user2"]
    narrow = trabajos.frontend(stack, "narrow", FOLLOWERS_PER_USER=1, FOLLOWERS=2)
    keys = [each.add(script(NEVER).url) for each in (user, other)]
    with trabajos.running(narrow):
        with ask(user, keys[0], narrow.url, EVENTS) as first:
            assert first.status_code == 200
            with ask(user, keys[0], narrow.url, EVENTS) as second:
                assert second.status_code == 429 and "Retry-After" in second.headers
            with ask(other, keys[1], narrow.url, EVENTS) as theirs, ask(users["admin"], keys[1], narrow.url, EVENTS) as third:
                assert theirs.status_code == 200 and third.status_code == 503 and "Retry-After" in third.headers
        trabajos.wait_for("they are gone", lambda: narrow.metric("trabajos_followers") == narrow.metric("trabajos_followed_jobs") == 0)
    for each, key in zip((user, other), keys):
        assert each.get(f"/api/v1/trabajos/{key}/cancel", method="POST").status_code == 200

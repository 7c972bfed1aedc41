"""An administrator has a worker take nothing more, and takes that back."""

import trabajos


def test_a_drained_worker_ends_what_it_has_takes_nothing_more_and_can_be_taken_back(stack, users, worker, script):
    admin = users["admin"]

    def workers():
        return {one["worker"]: one for one in admin.get("/api/v1/workers").json()}
    running = users["user"].add(script("sleep 4").url)
    name = trabajos.wait_for("who runs it", lambda: next((name for name, one in workers().items()
                                                          if running in [job["key"] for job in one["jobs"]]), None))
    answer = admin.get(f"/api/v1/workers/{name}/drain", "POST")
    assert (answer.status_code, answer.json()) == (200, {"worker": name, "draining": True})
    assert admin.get(f"/api/v1/workers/{name}/drain", "POST").json()["draining"]
    assert workers()[name]["draining"]
    waiting = users["user2"].add(script("true").url)
    assert users["user"].await_end(running) == "Finished"
    assert users["user2"].status(waiting) == "Queued", "the worker drains, and claimed"

    answer = admin.get(f"/api/v1/workers/{name}/resume", "POST")
    assert (answer.status_code, answer.json()) == (200, {"worker": name, "draining": False})
    assert users["user2"].await_end(waiting) == "Finished"


def test_what_an_observer_has_asked_for_is_the_observers_to_take_back(stack, users, worker):
    admin = users["admin"]
    stack.sql("INSERT INTO workers (worker, host, pid, version, slots, running, isolation, draining, retire_asked_at)"
              " VALUES ('leaving', 'h', 1, 'v', 1, 0, 'full', true, now())")
    try:
        assert admin.get("/api/v1/workers/leaving/resume", "POST").status_code == 409
    finally:
        stack.sql("DELETE FROM workers WHERE worker = 'leaving'")


def test_workers_are_drained_by_administrators_alone_and_only_those_there_are(users, worker):
    for what in ("drain", "resume"):
        assert users["user"].get(f"/api/v1/workers/any/{what}", "POST").status_code == 403
        assert users["admin"].get(f"/api/v1/workers/none/{what}", "POST").status_code == 404
        assert users["admin"].get(f"/api/v1/workers/none/{what}").status_code == 405

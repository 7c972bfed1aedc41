"""The jobs of a run: what they do, who asks for them and how, and what is done to them afterwards. Drawn from the seed; what was
accepted, and what became of each request, is written down for the checker."""

import datetime
import hashlib
import heapq
import itertools
import json
import random
import shutil
import signal
import threading
import time
import uuid

import confluent_kafka
import psycopg2
import requests
import trabajos
from gather import FINAL

USERS = ("user", "user2", "admin")

TRACE = """#!/bin/sh
say() { echo "$1 $TRABAJO_KEY $TRABAJO_ATTEMPT $(date +%s.%N)"; }
say start
"""
# What a job of a kind does between the first and the last line of its trace, and how it ends.
KINDS = {
    "quick": "say end\n",
    "nap": "sleep 0.4\nsay end\n",
    "mid": "sleep 2\nsay end\n",  # ends during the freeze
    "long": "sleep 10\nsay end\n",  # longer than a lease and a freeze: two attempts at once
    "flaky": "say end\n[ $TRABAJO_ATTEMPT -ge 2 ]\n",
    "broken": "say end\nexit 3\n",
    "deadly": "sleep 300\nsay end\n",  # kills whoever runs it, see Load.hunt
}
# (kind, retries, share of all jobs)
MIX = (("quick", 0, 56), ("nap", 0, 22), ("long", 0, 2), ("flaky", 9, 10), ("broken", 1, 10))


def repositories(stack):
    """The commit and URL of each kind."""
    for kind in KINDS:
        shutil.rmtree(stack.dir / "git" / f"kind-{kind}.git", ignore_errors=True)
    made = {kind: trabajos.Repository(stack, f"kind-{kind}", {"main.sh": TRACE + body}) for kind, body in KINDS.items()}
    return {kind: (repository.url, repository.commit) for kind, repository in made.items()}


class Schedule:
    """A cron entry of one user that comes every minute; each of its moments is a job whose key can be foretold (docs/INTERFACES.md)."""

    LATE_S = 20  # a moment so near to the end may have its job, or not

    def __init__(self, load):
        self.load, self.dice, self.session = load, random.Random(f"{load.seed} schedule"), requests.Session()
        self.owner, self.hook = Job(0, self.dice), load.hooks.hook("schedule", True)
        url, commit = load.repositories["quick"]
        wanted = {"name": f"seed-{load.seed}", "cron": "* * * * *", "url": url, "ref": commit, "on_done": self.hook.asked}
        self.made = trabajos.wait_for("the schedule is made", lambda: self.ask("", json=wanted))
        self.begun, self.ended = self.made["created_at"], None

    def ask(self, path, **what):
        answer = self.load.post(self.session, self.owner, "/api/v1/schedules" + path, self.dice, **what)
        return answer.json() if answer is not None and answer.ok else None

    def end(self):
        trabajos.wait_for("the schedule is paused", lambda: self.ask(f"/{self.made['id']}/pause"))
        self.ended = time.time()

    def keys(self):
        """Of the moments that must have their job, and of those that may."""
        begun = datetime.datetime.fromisoformat(self.begun.replace("Z", "+00:00")).timestamp()
        must, may = set(), set()
        for moment in range(int(begun // 60 + 1) * 60, int(self.ended) + 1, 60):
            digest = bytearray(hashlib.sha256(uuid.UUID(self.made["id"]).bytes + moment.to_bytes(8, "big")).digest()[:16])
            digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80
            (must if moment + self.LATE_S < self.ended else may).add(str(uuid.UUID(bytes=bytes(digest))))
        return must, may


class Job:
    """One submission, and what is known of it."""

    def __init__(self, number, dice):
        kinds, weights = [each[:2] for each in MIX], [each[2] for each in MIX]
        self.number = number
        self.hook = None
        self.kind, self.retries = dice.choices(kinds, weights)[0]
        self.user = dice.choices(USERS, (5, 3, 2))[0]
        self.idempotent = dice.random() < 0.8
        self.group = f"g{dice.randrange(6)}" if dice.random() < 0.10 else None
        self.limit = 1 + int(self.group[1:]) % 3 if self.group else None
        self.replace = self.group == "g5"
        self.delay_s = dice.randrange(1, 8) if not self.group and dice.random() < 0.06 else None
        # /add, the API, or straight through Kafka, as other people's frontends do it
        self.way = dice.choices(("add", "api", "kafka"), (0, 4, 2) if self.group or self.delay_s else (75, 20, 5))[0]
        self.priority = dice.choice((0, 0, 0, 5, -5))
        self.copies = dice.random() < 0.08
        self.cancel_after_s = dice.random() * 3 if dice.random() < 0.05 else None
        self.replay_after_s = 2 + dice.random() * 5 if dice.random() < 0.05 else None
        # what came of it
        self.key = None
        self.cancels, self.replays = [], []  # the answers; None: it was not heard

    def spec(self, commit):
        spec = {"ref": commit, "retries": self.retries, "priority": self.priority}
        if self.group:
            spec |= {"concurrency_key": self.group, "concurrency_limit": self.limit}
            if self.replace:
                spec["concurrency_policy"] = "replace"
        if self.delay_s:
            spec["run_after"] = self.delay_s
        if self.hook:
            spec["on_done"] = self.hook.asked
        return spec


def new_key():
    """Never of the seed: a job is known by its key, also to another run of that seed on this machine."""
    return str(uuid.uuid4())


class Load:
    """Submits all jobs by some threads, so many a second at the most, and insists until each is accepted."""

    def __init__(self, stack, fleet, hooks, seed, count, per_s, threads=16):
        self.stack, self.fleet, self.hooks = stack, fleet, hooks
        dice = random.Random(f"{seed} jobs")
        self.seed, self.per_s, self.run = seed, per_s, uuid.uuid4()
        self.jobs = [Job(number, dice) for number in range(count)]
        for job in self.jobs:
            job.hook = hooks.of_job(job)
        self.hooked = {}  # key → Hook
        self.repositories = repositories(stack)
        self.subjects = {name: trabajos.User(stack, "", name).claims()["sub"] for name in USERS}
        self.tokens, self.tokens_at = {}, 0.0
        self.lock = threading.Lock()
        self.producer = confluent_kafka.Producer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"], "acks": "all",
                                                  "message.timeout.ms": 5000, "log_level": 2})
        self.poison = self.poisons()
        self.schedule = Schedule(self)
        self.unsure = set()  # keys of records whose acknowledgement was never seen
        self.differing = []
        self.accepted = 0
        self.todo = iter(tuple(self.jobs))
        self.later, self.later_dice, self.session = [], random.Random(f"{seed} later"), requests.Session()
        self.count = itertools.count()
        self.stopping = threading.Event()
        self.turn = time.monotonic()
        self.threads = [threading.Thread(target=self.guarded, args=[self.submit_all], daemon=True) for _ in range(threads)]
        self.chores = threading.Thread(target=self.guarded, args=[self.do_later], daemon=True)
        for thread in (*self.threads, self.chores):
            thread.start()

    def guarded(self, work):
        try:
            work()
        except Exception as error:  # noqa: BLE001 # it would be lost with its thread
            self.fleet.problems.append(f"the load gave up: {error!r}")

    # ---- Kafka, as the outside world may write to it

    def produce(self, key, value, headers=()):
        kept = []
        self.producer.produce("trabajos", key=key, value=value, headers=list(headers),
                              on_delivery=lambda error, _: kept.append(error is None))
        end = time.monotonic() + 8
        while not kept and time.monotonic() < end:
            self.producer.poll(0.05)
        return bool(kept and kept[0])

    def record(self, job):
        url, commit = self.repositories[job.kind]
        headers = {"sub": self.subjects[job.user], "usuario": job.user, "spec": json.dumps(job.spec(commit))}
        return url, [(name, value.encode()) for name, value in headers.items()]

    def poisons(self):
        """Records that are no jobs: (key or None, value, headers, whether it has a usable key)."""
        url, hook = self.repositories["quick"][0], self.hooks.hook("poison", True)
        spec, hooked = json.dumps({"on_done": hook.asked}), new_key()
        self.hooked[hooked] = hook
        return [
            (None, url, [], False),
            ("not-a-uuid", url, [], False),
            (new_key(), "http://10.0.0.1/private.git", [], True),
            (new_key(), b"\xff\xfe\x00", [], True),
            (new_key(), "", [], True),
            (new_key(), url, [("sub", b"\xff\xff"), ("usuario", b"x")], True),
            (new_key(), url, [("sub", b"somebody"), ("usuario", b"somebody"), ("spec", b"{broken")], True),
            (new_key(), url, [("sub", b"somebody"), ("usuario", b"n" * 600), ("spec", b'{"priority":1e9}')], True),
            (new_key(), "x" * 100000, [], True),
            (hooked, "http://10.0.0.1/private.git", [("sub", b"somebody"), ("usuario", b"somebody"), ("spec", spec.encode())], True),
        ]

    def add_poison(self):
        """Some of them; the keys that must have become jobs nevertheless."""
        for key, value, headers, usable in self.poison:
            if self.produce(key, value, headers) and usable:
                with self.lock:
                    self.unsure.add(key)

    # ---- submitting

    def token(self, user):
        with self.lock:
            if time.monotonic() - self.tokens_at > 120:
                self.tokens, self.tokens_at = {name: self.stack.token(name) for name in USERS}, time.monotonic()
            return self.tokens[user]

    def post(self, session, job, path, dice, **what):
        """The answer; None where none came, or 503 did."""
        member = self.fleet.members[dice.choice(("f1", "f2"))]
        headers = {"Authorization": "Bearer " + self.token(job.user), **what.pop("headers", {})}
        try:
            answer = session.post(member.daemon.url + path, headers=headers, timeout=15, **what)
        except requests.RequestException:
            session.close()
            return None
        if answer.status_code == 401 and member.misdated:
            return None  # to a clock that is an hour off every token is of another time
        assert answer.status_code not in (400, 401, 403, 405, 422, 500), f"{path} answered {answer.status_code}: {answer.text}"
        return answer if answer.status_code not in (429, 503) else None

    def add(self, session, job, dice):
        """The key, or None where it was not accepted."""
        url, commit = self.repositories[job.kind]
        headers = {"Idempotency-Key": f"{self.run}-{job.number}"} if job.idempotent else {}
        if job.way == "add":
            hook = {"on_done": job.hook.url} if job.hook else {}
            answer = self.post(session, job, "/add", dice, headers=headers, data={
                "url": url, "ref": commit, "retries": job.retries, "priority": job.priority, **hook})
            return answer.text.split()[-1] if answer is not None else None
        answer = self.post(session, job, "/api/v1/trabajos", dice, headers=headers, json={"url": url, **job.spec(commit)})
        return answer.json()["key"] if answer is not None else None

    def put(self, job):
        key = job.key or new_key()
        with self.lock:
            self.unsure.add(key)
            self.note_hook(key, job)
        return key if self.produce(key, *self.record(job)) else None

    def note_hook(self, key, job):
        if job.hook:
            self.hooked[key] = job.hook

    def submit(self, session, job):
        dice = random.Random(f"{self.seed} {job.number}")
        while not self.stopping.is_set():
            key = self.put(job) if job.way == "kafka" else self.add(session, job, dice)
            if key:
                break
            time.sleep(0.1 + dice.random() / 5)
        else:
            return
        job.key = key
        if job.idempotent and job.way != "kafka" and dice.random() < 0.1:
            again = self.add(session, job, dice)
            if again not in (None, key):
                self.differing.append((job.number, key, again))
        with self.lock:
            self.accepted += 1
            self.note_hook(key, job)
            for after_s, chore in ((job.cancel_after_s, self.cancel), (job.replay_after_s, self.replay),
                                   (dice.random() * 20 if job.copies else None, self.copy)):
                if after_s is not None:
                    self.put_off(after_s, chore, job)

    def add_now(self, kind):
        """A job of that kind, first in its owner's queue; its key, None where Kafka does not take it."""
        job = Job(len(self.jobs), random.Random(f"{self.seed} now {len(self.jobs)}"))
        job.kind, job.retries, job.group, job.delay_s, job.way, job.priority = kind, 0, None, None, "kafka", 100
        job.hook = self.hooks.of_job(job)
        job.key = self.put(job)
        if job.key:
            with self.lock:
                self.jobs.append(job)
                self.accepted += 1
        return job.key

    def add_deadly(self):
        """A job that kills its worker each time, which goes on beside the other faults; whether there is one now."""
        key = self.add_now("deadly")
        if key:
            with self.lock:
                self.put_off(0, self.hunt, next(job for job in reversed(self.jobs) if job.key == key))
        return bool(key)

    def hunt(self, job):
        """Kills the worker that runs it, if one does; true when the job has ended."""
        try:
            rows = self.stack.sql("SELECT t.status, a.worker FROM trabajos t LEFT JOIN attempts a ON a.key = t.key AND a.finished_at IS NULL"
                                  " WHERE t.key = %s", job.key)
        except psycopg2.Error:
            return False
        member = self.fleet.members.get(self.fleet.worker_names().get(rows[0][1])) if rows else None
        if member:
            self.fleet.send(member, signal.SIGKILL)
        return bool(rows) and rows[0][0] in FINAL

    def submit_all(self):
        session = requests.Session()
        while not self.stopping.is_set():
            with self.lock:
                job = next(self.todo, None)
                # what an outage has held up is not caught up with: there shall be jobs coming in as long as there are faults
                self.turn = max(self.turn + 1 / self.per_s, time.monotonic())
                ahead_s = self.turn - time.monotonic()
            if job is None or self.stopping.wait(ahead_s):
                return
            self.submit(session, job)

    # ---- what comes afterwards

    def put_off(self, after_s, chore, job):
        heapq.heappush(self.later, (time.monotonic() + after_s, next(self.count), chore, job))

    def cancel(self, job):
        answer = self.post(self.session, job, f"/api/v1/trabajos/{job.key}/cancel", self.later_dice)
        known = answer is not None and answer.status_code == 200
        job.cancels.append(answer.json()["cancel"] if known else None)
        return known

    def replay(self, job):
        answer = self.post(self.session, job, f"/api/v1/trabajos/{job.key}/replay", self.later_dice)
        job.replays.append({202: "queued", 409: "active", 404: "unknown"}[answer.status_code] if answer is not None else None)
        return job.replays[-1] == "queued"

    def in_ledger(self, job):
        try:
            return bool(self.stack.sql("SELECT 1 FROM trabajos WHERE key = %s", job.key))
        except psycopg2.Error:
            return False

    def copy(self, job):
        """The same record once more, and one of the same key that says something else: what the ledger has counts. Before it has one,
        either may come first: they stand in different partitions."""
        if not self.in_ledger(job):
            return False
        url, headers = self.record(job)
        self.produce(job.key, url, headers)
        return self.produce(job.key, self.repositories["broken" if job.kind != "broken" else "quick"][0], headers)

    def do_later(self):
        while not self.stopping.wait(0.02):
            with self.lock:
                due = heapq.heappop(self.later) if self.later and self.later[0][0] <= time.monotonic() else None
            if due and not due[2](due[3]):
                with self.lock:
                    self.put_off(1, due[2], due[3])

    # ---- the end

    def done(self):
        return not any(thread.is_alive() for thread in self.threads)

    def settled(self):
        with self.lock:
            return self.done() and not self.later

    def close(self):
        self.stopping.set()
        for thread in (*self.threads, self.chores):
            thread.join()

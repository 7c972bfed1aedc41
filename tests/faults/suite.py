"""One run: a fleet under a storm, with jobs coming in; then calm, and the check."""

import contextlib
import dataclasses
import signal
import time

import confluent_kafka
import psycopg2
import trabajos
from check import check, overlaps
from gather import FINAL, gather
from hooks import Hooks
from load import Load
from storm import Disk, Storm
from world import FAILPOINTS, FRONTENDS, GUESTS, OBSERVERS, WORKERS, Fleet, Proxy, Watch, unarmed


@dataclasses.dataclass
class Plan:
    seed: int
    jobs: int = 1000
    per_s: float = 20
    duration_s: float = 60
    faults: tuple = Storm.FAULTS
    failpoints: dict = dataclasses.field(default_factory=lambda: FAILPOINTS)  # by the kind of daemon
    slots: int = 3
    patience_s: float = 60  # without any change, before the calm is given up


@dataclasses.dataclass
class Result:
    violations: list
    facts: object
    hits: set  # failpoints
    counts: dict  # fault → times
    seconds: float
    jobs: int
    attempts: int
    overlaps: int


def unsettled(stack, load):
    """What is still under way, as numbers that go to 0."""
    asked = [job.key for job in load.jobs if job.key]
    rows = stack.sql("SELECT (SELECT count(*) FROM trabajos WHERE status <> ALL (%s)), (SELECT count(*) FROM outbox),"
                     " (SELECT count(*) FROM trabajos WHERE owner = 'retired'),"
                     " (SELECT count(*) FROM trabajos WHERE key = ANY (%s::uuid[])),"
                     " (SELECT count(*) FROM webhooks WHERE state = 'waiting')", list(FINAL), asked)
    running, outbox, old, known, untold = rows[0]
    return running, outbox, len(load.jobs) - known, trabajos.lag(stack), old, untold, 0 if load.settled() else 1


def hasten(stack):
    """The ends of jobs that a receiver would not hear of are told again now, and not in some minutes; what is being told stays."""
    stack.sql("UPDATE webhooks SET next_at = now() WHERE state = 'waiting' AND NOT leased AND next_at > now() + interval '1 s'")


def await_calm(stack, load, patience_s, tell):
    last, since, told = None, time.monotonic(), 0.0
    while time.monotonic() - since < patience_s:
        try:
            hasten(stack)
            now = unsettled(stack, load)
        except (psycopg2.Error, confluent_kafka.KafkaException) as error:
            now = str(error).splitlines()[:1]
        if now[1:] and not any(now):
            return
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - told > 3:
            told = time.monotonic()
            tell("calm: jobs not ended, results not published, not in the ledger, lag, to be retired, to be told, to be done: "
                 + " ".join(map(str, now)))
        time.sleep(0.5)
    tell(f"gave up waiting for calm: {last}")


OLD_JOBS = """
    WITH old AS (
        INSERT INTO trabajos (key, owner, usuario, url, fingerprint, status, attempt, posted_at, eligible_at, finished_at, outcome)
        SELECT gen_random_uuid(), 'retired', 'retired', 'https://localhost/gone.git', '', 'Finished', 1, long_ago, long_ago, long_ago,
            '{"code": "ok"}'
        FROM generate_series(1, 20), (SELECT now() - interval '40 days' AS long_ago) moment RETURNING key, usuario, status, finished_at
    ), visible AS (
        INSERT INTO resultados (usuario, key, status) SELECT usuario, key::text, status FROM old
    ), history AS (
        INSERT INTO attempts (key, attempt, worker, owner, started_at, finished_at)
        SELECT key, 1, 'gone', 'retired', finished_at, finished_at FROM old
    ) INSERT INTO logs (key, attempt, seq, stream, at, data) SELECT key, 1, 1, 1, finished_at, 'old' FROM old"""


class Run:
    """What a run has opened, closed in the right order whatever happens."""

    def __init__(self, stack, plan, tell):
        self.stack, self.plan, self.tell = stack, plan, tell
        self.disk = Disk(stack)
        self.proxy = Proxy(stack, (*FRONTENDS, *OBSERVERS, *WORKERS, *GUESTS), plan.seed)
        self.hooks = Hooks(plan.seed)
        self.fleet = Fleet(stack, self.proxy, plan.seed, self.hooks.url, plan.failpoints, plan.slots)
        self.watch = Watch()
        self.load = None

    def start(self):
        fleet = self.fleet
        fleet.armed = False
        for member in fleet.of(*FRONTENDS, *OBSERVERS, *WORKERS):
            fleet.start(member)
        for member in fleet.of(*FRONTENDS, *WORKERS):
            member.daemon.await_ready()
        self.stack.sql(OLD_JOBS)  # for the retention to remove: the checker finds them if it does not
        self.load = Load(self.stack, fleet, self.hooks, self.plan.seed, self.plan.jobs, self.plan.per_s)
        if self.plan.failpoints:
            fleet.armed = True
            for member in fleet.members.values():
                fleet.send(member, signal.SIGKILL)

    def storm(self):
        plan, tell = self.plan, self.tell
        storm = Storm(self.stack, self.proxy, self.fleet, self.load, self.disk, plan.seed,
                      lambda text: tell(f"{self.load.accepted:4} accepted  {text}"))
        storm.run(list(plan.faults), plan.duration_s)
        self.proxy.tell("heal", "*")
        return storm.counts

    def calm(self):
        for member in self.fleet.members.values():
            member.clock_s = 0
        self.fleet.calm()
        self.load.schedule.end()
        await_calm(self.stack, self.load, self.plan.patience_s, self.tell)
        self.load.close()
        # what a killed one left behind, the next one in its place removes: have one in every place
        for member in self.fleet.of(*GUESTS):
            self.fleet.start(member)
        for member in self.fleet.of(*FRONTENDS, *OBSERVERS, *WORKERS, *GUESTS):
            try:
                member.daemon.await_ready(60)
            except AssertionError as error:
                self.fleet.problems.append(f"{member.name} does not come back: {error}")
        self.fleet.close()

    def close(self):
        if self.load:
            self.load.close()
        self.watch.close()
        self.fleet.kill()
        self.hooks.close()
        self.proxy.close()
        self.disk.close()


def play(stack, plan, tell):
    """A run from its beginning until its check."""
    began = time.monotonic()
    amiss = list(unarmed(trabajos.ROOT, trabajos.BIN, plan.failpoints))
    assert not amiss, "\n".join(amiss)
    stack.reset()
    with contextlib.closing(Run(stack, plan, tell)) as run:
        run.start()
        counts = run.storm()
        run.calm()
        facts = gather(stack, run.fleet, run.load, run.watch, run.disk, run.hooks)
        hits = {name for name, _, _ in run.fleet.hits()}
    return Result(check(facts), facts, hits, counts, time.monotonic() - began, len(facts.jobs),
                  sum(len(each) for each in facts.attempts.values()), overlaps(facts))


@contextlib.contextmanager
def programs(folder):
    """The daemons of another build."""
    before = trabajos.BIN
    trabajos.BIN = folder
    try:
        yield
    finally:
        trabajos.BIN = before


KEEPERS_DIE = dict.fromkeys(("worker", "observer"), ["webhook.taken", "webhook.posted"])
# Builds without a guard, a run that needs it, and the rules of which one must find it missing.
PROOFS = {
    "fence": ({}, (Storm.freeze_worker, Storm.freeze_worker, Storm.freeze_worker), ("records are of results",)),
    "dedupe": ({}, (Storm.rebalance_storm, Storm.kill_workers_together), ("attempts have a reason", "accepted jobs end")),
    "sweeper": ({}, (Storm.kafka_killed, Storm.kill_workers_together), ("results have their record",)),
    "redelivery": (KEEPERS_DIE, (Storm.kill_workers_together,), ("ends are told",)),
}


def proof(faulty):
    failpoints, faults, _ = PROOFS[faulty]
    return Plan(1, jobs=150, per_s=20, duration_s=0, faults=faults, failpoints=failpoints, patience_s=25)

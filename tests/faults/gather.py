"""Reads what is left after a run into plain data (class Facts): the ledger, both topics, the traces, what lies about on the machine."""

import dataclasses
import json
import os
import pathlib
import re
import uuid

import confluent_kafka
import world

FINAL = ("Finished", "Failed", "Cancelled")


@dataclasses.dataclass
class Attempt:
    worker: str
    started: float
    finished: float | None
    code: str | None  # of its outcome
    message: str
    ended: bool  # whether its worker has written its end itself
    blame: str | None = None  # of its outcome


@dataclasses.dataclass
class Asked:
    """A job that was accepted."""
    kind: str
    retries: int
    group: tuple | None = None  # (user, concurrency key, limit, replace)
    cancels: tuple = ()
    replays: tuple = ()
    number: int = 0
    recorded: bool = True  # in the topic trabajos


@dataclasses.dataclass
class Event:
    """A result that is to be told, as the ledger has it."""
    key: str
    path: str
    body: str
    state: str
    tries: int


@dataclasses.dataclass
class Facts:
    lease_s: float = 3
    max_attempts: int = 5
    asked: dict = dataclasses.field(default_factory=dict)  # key → Asked
    possible: set = dataclasses.field(default_factory=set)  # keys that may be there too
    differing: list = dataclasses.field(default_factory=list)  # (number, key, other key): one idempotency key, two jobs
    jobs: dict = dataclasses.field(default_factory=dict)  # key → (usuario, status, attempt, outcome's code)
    attempts: dict = dataclasses.field(default_factory=dict)  # key → {number: Attempt}
    logs: dict = dataclasses.field(default_factory=dict)  # (key, attempt) → text
    resultados: list = dataclasses.field(default_factory=list)  # (usuario, key, status)
    leftover_rows: dict = dataclasses.field(default_factory=dict)  # table → keys that should not be there at rest
    dead: set = dataclasses.field(default_factory=set)
    records: list = dataclasses.field(default_factory=list)  # of resultados: (key, value)
    intake: list = dataclasses.field(default_factory=list)  # keys of trabajos, None where there is no usable one
    hooks: dict = dataclasses.field(default_factory=dict)  # paths that were given as webhooks → secret, None: without
    hooked: dict = dataclasses.field(default_factory=dict)  # keys of jobs that are known to have one → path
    events: dict = dataclasses.field(default_factory=dict)  # id → Event
    deliveries: list = dataclasses.field(default_factory=list)  # hooks.Delivery
    intervals: dict = dataclasses.field(default_factory=dict)  # (key, attempt) → (first, last) seen of its processes
    absences: list = dataclasses.field(default_factory=list)  # (member, from, until)
    members: dict = dataclasses.field(default_factory=dict)  # worker → member
    leftovers: list = dataclasses.field(default_factory=list)
    problems: list = dataclasses.field(default_factory=list)


def topic(stack, name):
    """Everything in it: (key, value)."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"], "group.id": "fault-suite-reader",
                                         "enable.auto.commit": False, "auto.offset.reset": "earliest", "log_level": 2})
    try:
        partitions = consumer.list_topics(name, timeout=20).topics[name].partitions
        ends = {number: consumer.get_watermark_offsets(confluent_kafka.TopicPartition(name, number), timeout=20) for number in partitions}
        consumer.assign([confluent_kafka.TopicPartition(name, number, low) for number, (low, _) in ends.items()])
        missing = sum(high - low for low, high in ends.values())
        found = []
        while missing > 0:
            messages = consumer.consume(min(500, missing), timeout=20)
            assert messages, f"topic {name} could not be read to its end"
            for message in messages:
                assert message.error() is None, message.error()
                found.append((message.key(), message.value()))
            missing -= len(messages)
        return found
    finally:
        consumer.close()


def usable_key(key):
    try:
        return str(uuid.UUID(key.decode())) if key and len(key) == 36 else None
    except ValueError:
        return None


def read_ledger(stack, facts):
    for key, usuario, status, attempt, code in stack.sql("SELECT key::text, usuario, status, attempt, outcome->>'code' FROM trabajos"):
        facts.jobs[key] = (usuario, status, attempt, code)
    rows = stack.sql("SELECT key::text, attempt, worker, extract(epoch FROM started_at)::float8, extract(epoch FROM finished_at)::float8,"
                     " outcome->>'code', coalesce(outcome->>'message', ''), coalesce(detail ? 'output', false), outcome->>'blame' FROM attempts")
    for key, number, *rest in rows:
        facts.attempts.setdefault(key, {})[number] = Attempt(*rest)
    logs = {}
    for key, number, data in stack.sql("SELECT key::text, attempt, data FROM logs WHERE stream = 1 ORDER BY key, attempt, seq"):
        logs[key, number] = logs.get((key, number), b"") + bytes(data)
    facts.logs = {attempt: data.decode(errors="replace") for attempt, data in logs.items()}
    facts.resultados = stack.sql("SELECT usuario, key, status FROM resultados")
    for table in ("queue", "delayed", "concurrency", "outbox"):
        facts.leftover_rows[table] = [row[0] for row in stack.sql(f"SELECT key::text FROM {table}")]
    facts.leftover_rows["attempts"] = [row[0] for row in stack.sql("SELECT key::text FROM attempts WHERE finished_at IS NULL")]
    facts.dead = {row[0] for row in stack.sql("SELECT key::text FROM dead_letters")}


def read_webhooks(stack, load, hooks, facts):
    for which, key, url, body, state, tries in stack.sql("SELECT id, key::text, url, body, state, tries FROM webhooks"):
        facts.events[which] = Event(key, "/" + url.removeprefix(hooks.url), body, state, tries)
    facts.leftover_rows["webhooks, leased"] = [row[0] for row in stack.sql("SELECT key::text FROM webhooks WHERE leased")]
    facts.hooks = dict(hooks.secrets)
    must, may = load.schedule.keys()
    given = load.hooked | dict.fromkeys(must | may, load.schedule.hook)
    facts.hooked = {key: hook.path for key, hook in given.items()}
    facts.deliveries = list(hooks.deliveries)


def read_topics(stack, facts):
    facts.records = [(key.decode(), json.loads(value)) for key, value in topic(stack, "resultados")]
    facts.intake = [usable_key(key) for key, _ in topic(stack, "trabajos")]


def read_load(load, facts):
    for job in load.jobs:
        if job.key:
            group = (job.user, job.group, job.limit, job.replace) if job.group else None
            facts.asked[job.key] = Asked(job.kind, job.retries, group, tuple(job.cancels), tuple(job.replays), job.number)
    must, may = load.schedule.keys()
    facts.asked |= {key: Asked("quick", 0, recorded=False) for key in must}
    facts.possible = load.unsure | may
    facts.differing = list(load.differing)


def left_processes(fleet, keys):
    started = {pid: at for member in fleet.members.values() for pid, at in member.pids.items()}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        found = world.Watch.attempt_of(name)
        ours = int(name) in started and world.started_at(name) == started[int(name)]
        if (found and found[0] in keys) or ours:
            try:
                command = pathlib.Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = pathlib.Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if state != "Z":
                yield f"process {name}: {command}"


def left_groups(fleet):
    """A worker's control groups are called trabajos-NAMESPACE-PID-START-SLOT."""
    ours = {(str(pid), str(at)) for member in fleet.members.values() for pid, at in member.pids.items()}
    for folder in pathlib.Path("/sys/fs/cgroup").glob("**/trabajos-*-*-*-*"):
        if tuple(folder.name.split("-")[2:4]) in ours:
            yield f"control group {folder}"


def left_on_disk(stack, fleet, disk):
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4]
        if place.startswith(f"{stack.dir}/test-") and not (disk.mounted and place == str(disk.path)):
            yield f"mount {place}"
    for member in fleet.members.values():
        folder = pathlib.Path(member.daemon.options.get("WORKER_DIR", "/nonexistent"))
        # Half-written trees are swept after a start; a guest is asked to stop as soon as it has come back.
        half = [] if member.name in world.GUESTS else (*folder.glob("trees/*/*.tmp-*"), *folder.glob("trees/*/*.gone-*"))
        for place in (*folder.glob("boxes/*"), *folder.glob("jobs/*"), *half):
            yield f"left in a worker's folder: {place}"


def gather(stack, fleet, load, watch, disk, hooks):
    """After all daemons have ended."""
    facts = Facts(lease_s=world.LEASE_S, max_attempts=world.MAX_ATTEMPTS)
    read_load(load, facts)
    read_ledger(stack, facts)
    read_topics(stack, facts)
    read_webhooks(stack, load, hooks, facts)
    facts.intervals = {attempt: tuple(interval) for attempt, interval in watch.intervals.items()}
    facts.absences = list(fleet.absences)
    facts.members = fleet.worker_names()
    facts.problems = list(fleet.problems)
    facts.leftovers = [*left_processes(fleet, facts.jobs), *left_groups(fleet), *left_on_disk(stack, fleet, disk)]
    return facts


def story(facts, key):
    """What is known of a job, for whoever has to find out what went wrong; a line each."""
    yield f"{key}: ledger {facts.jobs.get(key)}, asked {facts.asked.get(key)}"
    for number, each in sorted(facts.attempts.get(key, {}).items()):
        yield (f"  attempt {number} of {facts.members.get(each.worker, each.worker)}: {each.started:.3f} to {each.finished or 0:.3f},"
               f" {each.code}: {each.message}; processes {facts.intervals.get((key, number))}, log {facts.logs.get((key, number))!r}")
    for other, value in facts.records:
        if other == key:
            yield f"  record: {value}"
    for which, event in facts.events.items():
        if event.key == key:
            answers = [each.status for each in facts.deliveries if each.id == which]
            yield f"  webhook {which}: {event.state} after {event.tries} tries, answered {answers}"
    yield f"  resultados: {[row for row in facts.resultados if row[1] == key]}, records in trabajos: {facts.intake.count(key)}"


def trace(text):
    """The lines of a job's log that it wrote as its trace: (what, key, attempt, moment)."""
    return [(what, key, int(attempt), float(moment))
            for what, key, attempt, moment in re.findall(r"^(start|end) (\S+) (\d+) ([0-9.]+)$", text, re.MULTILINE)]

"""What a run of the fault suite plays on: a stack, a proxy before Kafka and PostgreSQL, and a fleet of daemons that are started again
whenever they die."""

import contextlib
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

import confluent_kafka.admin
import trabajos

HERE = pathlib.Path(__file__).resolve().parent
LEASE_S = 3
MAX_ATTEMPTS = 5
FAKETIME = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)

FRONTENDS = ("f1", "f2")
WORKERS = ("w1", "w2", "w3")
GUESTS = ("w4", "w5")
OBSERVERS = ("o1",)

# Where a daemon can die, by its kind; housekeeping runs in workers and observers. None of the sources' may be missing (see unarmed).
FAILPOINTS = {
    "frontend": ["submit.produced", "submit.acknowledged", "submit.stored", "submit.answered"],
    "worker": ["ingest.polled", "ingest.inserted", "ingest.stored", "claim.answered", "job.started", "job.ended", "finish.answered",
               "publish.produced", "publish.acknowledged", "publish.marked", "heartbeat.answered", "give_back.answered",
               "housekeeping.reaped", "housekeeping.swept", "housekeeping.promoted", "ingest.insert", "publish.lost", "webhook.taken",
               "webhook.posted"],
    "observer": ["housekeeping.scheduled", "housekeeping.retained", "webhook.taken", "webhook.posted"],
}
# Those that fail instead of killing, and those that come seldom: at their first pass then.
FAILING = {"ingest.insert", "publish.lost"}
SELDOM = {"give_back.answered", "housekeeping.reaped", "housekeeping.swept", "housekeeping.promoted", "housekeeping.scheduled",
          "housekeeping.retained"}
# At one of so many passes.
PASSES = {"webhook.taken": 5, "webhook.posted": 10}
ALL_FAILPOINTS = sorted({name for names in FAILPOINTS.values() for name in names})
FAILPOINT = re.compile(r"\bfailpoint(?:_fails|_passed)?\(([^)]*)\)")


def sources(root):
    return [path for folder in ("lib", "frontend", "worker", "observer", "cli") for path in sorted((root / folder).rglob("*.[ch]"))
            if path.stem != "failpoint"]


def unarmed(root, programs, given):
    """What keeps a failpoint from being hit without anybody noticing: it is compiled in and given to nobody, or given to a program
    that does not have it."""
    for path in sources(root):
        for argument in FAILPOINT.findall(path.read_text()):
            if argument.strip('"') == argument:
                yield f"{path}: a failpoint without a name of its own: {argument}"
            elif argument.strip('"') not in ALL_FAILPOINTS:
                yield f"{path}: the failpoint {argument} is given to no daemon"
    for kind, names in given.items():
        program = (programs / f"trabajos-{kind}").read_bytes()
        for name in names:
            if name.encode() + b"\0" not in program:
                yield f"{programs}: trabajos-{kind} does not have the failpoint {name}"


class FaultStack(trabajos.Stack):
    """A stack whose Kafka has one more listener, for those who come through the proxy."""

    def __init__(self, folder=None):
        """In a folder of its own, which goes with it; or in one that is given, where it is left running."""
        self.kept = folder is not None
        if self.kept:
            folder.mkdir(exist_ok=True)
            self.dir, self.env = folder.resolve(), {}
            self.environ = dict(os.environ, STACK_DIR=str(self.dir), STACK_PORTS="")
        else:
            super().__init__()
        saved = self.dir / "proxied"
        if not saved.exists():
            saved.write_text(f"{trabajos.free_port()}:{trabajos.free_port()}")
        self.environ["STACK_KAFKA_PROXIED"] = saved.read_text()
        self.kafka_listens, self.kafka_proxied = map(int, saved.read_text().split(":"))

    def up(self):
        if not self.kept:
            super().up()
            return
        subprocess.run([trabajos.ROOT / "dev/stack", "up"], env=self.environ, check=True, timeout=600)
        self.read_env()
        self.make_roles()

    def down(self):
        if not self.kept:
            super().down()

    def reset(self):
        """As if it were new, but for users and repositories."""
        self.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC")
        self.migrate()
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.env["KAFKA_BOOTSTRAP"]})

        def topics():
            return [name for name in admin.list_topics(timeout=10).topics if name in ("trabajos", "resultados")]
        for future in admin.delete_topics(topics(), operation_timeout=30).values() if topics() else ():
            future.result(60)
        trabajos.wait_for("the topics are gone", lambda: not topics())


def started_at(pid):
    """In the kernel's ticks; None: there is no such process."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except OSError:
        return None


class Proxy:
    """proxy.py, one link to Kafka and one to PostgreSQL for each daemon."""

    def __init__(self, stack, names, seed):
        self.ports = {"kafka": stack.kafka_proxied, **{f"pg-{name}": trabajos.free_port() for name in names}}
        target = {"kafka": stack.kafka_listens}
        arguments = [f"{link}={port}:{target.get(link, stack.env['POSTGRES_PORT'])}" for link, port in self.ports.items()]
        self.process = subprocess.Popen([sys.executable, HERE / "proxy.py", str(seed), *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.lock = threading.Lock()
        assert self.process.stdout.readline() == "ok\n", "the proxy did not start"

    def tell(self, *words):
        with self.lock:
            print(*words, file=self.process.stdin, flush=True)
            assert self.process.stdout.readline() == "ok\n", f"the proxy did not do: {words}"

    def close(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


class Member:
    """A daemon of the fleet."""

    def __init__(self, name, kind, daemon):
        self.name, self.kind, self.daemon = name, kind, daemon
        self.wanted = False
        self.frozen_at = None
        self.clock_s = 0
        self.misdated = False  # has had a wrong clock in this run
        self.pids = {}  # and when each was started: numbers come again


class Fleet:
    """All daemons; a keeper starts those again that died, each time with the next failpoint, and wakes those that froze themselves."""

    def __init__(self, stack, proxy, seed, receiver, failpoints, slots=3):
        self.stack, self.proxy, self.receiver = stack, proxy, receiver
        self.dice = random.Random(f"{seed} fleet")
        self.hits_path = stack.dir / "failpoints"
        self.hits_path.unlink(missing_ok=True)
        self.hits_seen = 0
        self.absences = []  # (member, from, until): it could not hear or speak, or not all of the time
        self.problems = []
        self.armed = False
        self.failpoints, self.queues = failpoints, {kind: [] for kind in FAILPOINTS}
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.members = {name: self.member(name, slots) for name in (*FRONTENDS, *OBSERVERS, *WORKERS, *GUESTS)}
        self.keeper = threading.Thread(target=self.keep, daemon=True)
        self.keeper.start()

    def member(self, name, slots):
        options = {"KAFKA_BOOTSTRAP": f"127.0.0.1:{self.proxy.ports['kafka']}", "POSTGRES_PORT": self.proxy.ports[f"pg-{name}"],
                   "LEASE_S": LEASE_S, "MAX_ATTEMPTS": MAX_ATTEMPTS, "FAILPOINT_LOG": self.hits_path, "LOG_LEVEL": "info",
                   "WEBHOOK_ALLOW": self.receiver}
        if name in FRONTENDS:
            del options["LEASE_S"], options["MAX_ATTEMPTS"]
            return Member(name, "frontend", trabajos.frontend(self.stack, name, **options))
        if name in OBSERVERS:
            return Member(name, "observer", trabajos.observer(self.stack, name, **options))
        # short sessions, so that the group notices within a run that one of its members is gone
        options |= {"WORKER_SLOTS": slots, "DRAIN_S": 2, "JOB_DISK_MB": 16, "WORKER_FREE_MB": 16, "KAFKA_CONFIG": "session.timeout.ms=6000"}
        return Member(name, "worker", trabajos.worker(self.stack, name, **options))

    def of(self, *names):
        return [self.members[name] for name in names]

    # ---- starting

    def next_failpoint(self, kind):
        if not self.queues[kind]:
            names = self.failpoints[kind]
            self.queues[kind] = self.dice.sample(names, len(names))
        name = self.queues[kind].pop()
        if name in FAILING:
            return f"{name}=fail%20"
        action = "stop" if self.dice.random() < 0.2 else "kill"
        passes = 1 if name in SELDOM else PASSES.get(name, 79 if kind == "frontend" else 29)
        return f"{name}={action}@{self.dice.randrange(1, passes + 1)}"

    def start(self, member):
        with self.lock:
            options = member.daemon.options
            for name in ("FAILPOINTS", "FAILPOINT_SEED", "LD_PRELOAD", "FAKETIME", "DONT_FAKE_MONOTONIC"):
                options.pop(name, None)
            if self.armed and member.kind in self.failpoints:
                chosen = [self.next_failpoint(member.kind) for _ in range(2)]
                options |= {"FAILPOINTS": ",".join(chosen), "FAILPOINT_SEED": self.dice.randrange(1 << 30)}
            if member.clock_s and FAKETIME:
                member.misdated = True
                options |= {"LD_PRELOAD": f"{trabajos.BIN.parent / 'clock.so'} {FAKETIME}", "FAKETIME": f"{member.clock_s:+d}s", "DONT_FAKE_MONOTONIC": 1}
            member.daemon.start(ready=False)
            member.pids[member.daemon.process.pid] = started_at(member.daemon.process.pid)
            self.note_return(member)
            member.wanted = True

    def send(self, member, number):
        with self.lock:
            if not member.daemon.alive():
                return
            if number == signal.SIGCONT:
                self.note_return(member)
            member.daemon.signal(number)
            if number == signal.SIGSTOP:
                member.frozen_at = time.time()

    def note_return(self, member):
        if member.frozen_at:
            self.absences.append((member.name, member.frozen_at, time.time()))
            member.frozen_at = None

    @contextlib.contextmanager
    def unheard(self):
        """Something between the daemons and their services fails meanwhile."""
        begin = time.time()
        yield
        end = time.time()
        self.absences.extend((name, begin, end) for name in self.members)

    def dismiss(self, member, number=signal.SIGTERM):
        """It ends, and is not started again."""
        with self.lock:
            member.wanted = False
            self.send(member, signal.SIGCONT)
            self.send(member, number)

    # ---- the keeper

    def hits(self):
        lines = self.hits_path.read_text().splitlines() if self.hits_path.exists() else []
        return [line.split() for line in lines if len(line.split()) == 3]

    def wake_later(self, member, pid):
        def wake():
            if member.daemon.process.pid == pid:
                self.send(member, signal.SIGCONT)
        timer = threading.Timer(LEASE_S * 1.5 + self.dice.random() * LEASE_S, wake)
        timer.daemon = True
        timer.start()

    def look(self):
        hits = self.hits()
        for _, action, pid in hits[self.hits_seen:]:
            for member in self.members.values():
                if action == "stop" and member.daemon.process and member.daemon.process.pid == int(pid):
                    member.frozen_at = time.time()
                    self.wake_later(member, int(pid))
        self.hits_seen = len(hits)
        for member in self.members.values():
            if not member.wanted or member.daemon.alive():
                continue
            code = member.daemon.process.poll()
            if code not in (-signal.SIGKILL, 0):
                self.problems.append(f"{member.name} ended by itself with {code}: {member.daemon.tail(3)}")
            self.start(member)

    def keep(self):
        while not self.stopping.wait(0.2):
            with self.lock:
                try:
                    if not self.stopping.is_set():
                        self.look()
                except OSError as error:
                    self.problems.append(f"the keeper cannot start a daemon: {error}")

    # ---- the end

    def calm(self):
        """No more failpoints: whoever has one is started anew."""
        self.armed = False
        for member in self.members.values():
            if not member.wanted:
                continue
            self.send(member, signal.SIGCONT)
            self.send(member, signal.SIGKILL)

    def close(self):
        """Ends all in an orderly way; what did not is a problem."""
        self.stopping.set()
        self.keeper.join()
        for member in self.members.values():
            self.dismiss(member)
        for member in self.members.values():
            try:
                code = member.daemon.stop(30)
            except AssertionError as error:
                self.problems.append(str(error))
                continue
            if member.daemon.process and code not in (0, -signal.SIGKILL):
                self.problems.append(f"{member.name} ended with {code} when it was asked to stop: {member.daemon.tail(3)}")

    def kill(self):
        self.stopping.set()
        self.keeper.join()
        for member in self.members.values():
            if member.daemon.process:
                member.daemon.kill()

    def worker_names(self):
        """Worker id in the ledger → member."""
        names = {}
        for member in self.members.values():
            if member.kind == "worker" and member.daemon.log.exists():
                text = member.daemon.log.read_text(errors="replace")
                names |= dict.fromkeys(re.findall(r'"text":"serving"[^}]*"worker":"([0-9a-f-]+)"', text), member.name)
                names |= dict.fromkeys(re.findall(r'"serving"[^}]*?"worker":"([0-9a-f-]+)"', text), member.name)
        return names


def environment_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


class Watch:
    """Which attempt has processes, and from when to when: seen from outside, whatever the ledger says."""

    def __init__(self):
        self.running = {}  # pid → [key, attempt, first, last]
        self.young = {}  # pid → first seen
        self.old = set()
        self.intervals = {}  # (key, attempt) → [first, last]
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @staticmethod
    def attempt_of(pid):
        values = dict(item.split(b"=", 1) for item in environment_of(pid) if item.startswith(b"TRABAJO_"))
        try:
            return values[b"TRABAJO_KEY"].decode(), int(values[b"TRABAJO_ATTEMPT"])
        except (KeyError, ValueError):
            return None

    def look(self):
        now = time.time()
        present = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        for known in (self.old, self.young, self.running):
            for pid in [pid for pid in known if pid not in present]:
                known.remove(pid) if known is self.old else known.pop(pid)
        for pid in present:
            if pid in self.old or pid in self.running:
                continue
            found = self.attempt_of(pid)
            if found:
                self.running[pid] = found
                self.young.pop(pid, None)
            elif now - self.young.setdefault(pid, now) > 2:
                del self.young[pid]
                self.old.add(pid)
        for attempt in self.running.values():
            self.intervals.setdefault(attempt, [now, now])[1] = now

    def run(self):
        while not self.stopping.wait(0.1):
            self.look()

    def close(self):
        self.stopping.set()
        self.thread.join()

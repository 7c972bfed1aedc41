"""The faults of a run: each kind at least once, in an order and with particulars drawn from the seed, then more of them for as long as
the run is to last."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import psycopg2
import trabajos
from world import FAKETIME, GUESTS, LEASE_S, OBSERVERS, WORKERS

DISK = "w3"
MISDATED = "f2"


class Disk:
    """A small file system under one worker's folder, to be filled; only root can have one."""

    def __init__(self, stack, megabytes=96):
        self.path = stack.dir / f"test-{DISK}"
        self.path.mkdir(exist_ok=True)
        self.mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "none", self.path], check=False).returncode == 0

    def fill(self):
        with open(self.path / "ballast", "wb") as ballast:
            try:
                while True:
                    ballast.write(bytes(1 << 20))
            except OSError:
                pass

    def empty(self):
        (self.path / "ballast").unlink(missing_ok=True)

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], check=False)
            self.mounted = False
        shutil.rmtree(self.path, ignore_errors=True)


class Storm:
    """Each method below FAULTS is one fault, from its beginning until its end."""

    def __init__(self, stack, proxy, fleet, load, disk, seed, tell):
        self.stack, self.proxy, self.fleet, self.load, self.disk, self.tell = stack, proxy, fleet, load, disk, tell
        self.dice = random.Random(f"{seed} storm")
        self.counts = {}
        self.stopping = threading.Event()

    def nap(self, least_s, most_s):
        self.stopping.wait(least_s + self.dice.random() * (most_s - least_s))

    def links(self):
        """One, some or all of the ways to the services."""
        names = list(self.fleet.members)
        choice = self.dice.choice(["kafka", "pg-*", "one", "some"])
        if choice == "one":
            return [f"pg-{self.dice.choice(names)}"]
        if choice == "some":
            return ["kafka", *(f"pg-{name}" for name in self.dice.sample(names, 2))]
        return [choice]

    def on_links(self, verb, number, least_s, most_s):
        links = self.links()
        with self.fleet.unheard():
            for link in links:
                self.proxy.tell(verb, link, *([number] if number else []))
            self.nap(least_s, most_s)
            for link in links:
                self.proxy.tell("heal", link)
        return " ".join(links)

    # ---- the faults

    def kill_storm(self):
        victims = self.dice.choices(list(self.fleet.members.values()), k=8)
        for member in victims:
            self.fleet.send(member, signal.SIGKILL)
            self.nap(0.1, 0.6)
        return " ".join(member.name for member in victims)

    def kill_workers_together(self):
        for member in self.fleet.of(*WORKERS):
            self.fleet.send(member, signal.SIGKILL)
        self.nap(0.5, 1.5)

    def running(self, *kinds):
        """The workers that run new jobs of these kinds; those that it can learn of soon."""
        keys, end, found = [key for key in map(self.load.add_now, kinds) if key], time.monotonic() + 5, set()
        while keys and len(found) < len(keys) and time.monotonic() < end:
            self.nap(0.1, 0.1)
            with contextlib.suppress(psycopg2.Error):
                found = set(self.stack.sql("SELECT key, worker FROM attempts WHERE key = ANY (%s::uuid[]) AND finished_at IS NULL", keys))
        names = self.fleet.worker_names()
        return [self.fleet.members[names[worker]] for _, worker in sorted(found) if worker in names]

    def freeze_worker(self):
        """One or two, so that an attempt goes on while another worker has taken it over, and another one ends in the freeze."""
        busy, others = self.running("long", "mid"), self.dice.sample(self.fleet.of(*WORKERS), self.dice.choice((1, 1, 2)))
        victims = list(dict.fromkeys(busy or others))
        for member in victims:
            self.fleet.send(member, signal.SIGSTOP)
        self.nap(LEASE_S * 2, LEASE_S * 3)
        for member in victims:
            self.fleet.send(member, signal.SIGCONT)
        return " ".join(member.name for member in victims)

    def freeze_another(self):
        member = self.dice.choice(self.fleet.of("f1", "f2", *OBSERVERS))
        self.fleet.send(member, signal.SIGSTOP)
        self.nap(1, 4)
        self.fleet.send(member, signal.SIGCONT)
        return member.name

    def service(self, name, blow, least_s, most_s):
        with self.fleet.unheard():
            self.stack.run(*blow, check=False)
            self.nap(least_s, most_s)
            trabajos.wait_for(f"{name} is up again", lambda: self.stack.run("start", name, check=False).returncode == 0, 120)

    def kafka_restarted(self):
        self.service("kafka", ("stop", "kafka"), 0, 1)

    def kafka_killed(self):
        self.service("kafka", ("kill", "kafka"), 0, 2)

    def postgres_immediate(self):
        self.service("postgres", ("kill", "postgres", "QUIT"), 0, 1)

    def postgres_killed(self):
        self.service("postgres", ("kill", "postgres"), 0, 1)

    def postgres_away(self):
        self.service("postgres", ("kill", "postgres", "INT"), LEASE_S * 1.2, LEASE_S * 1.6)

    def delay(self):
        return self.on_links("delay", self.dice.randrange(5, 120), 2, 4)

    def stall(self):
        return self.on_links("stall", None, 1, LEASE_S * 2)

    def swallow(self):
        return self.on_links("swallow", None, 1, LEASE_S * 2)

    def refuse(self):
        return self.on_links("refuse", None, 1, 3)

    def cut(self):
        return self.on_links("cut", self.dice.randrange(30, 101), 0.3, 1)

    def reset(self):
        return self.on_links("reset", self.dice.randrange(30, 101), 0.3, 1)

    def orphan(self):
        return self.on_links("orphan", self.dice.randrange(30, 101), 2, LEASE_S * 1.5)

    def rebalance_storm(self):
        for _ in range(3):
            for member in self.fleet.of(*GUESTS):
                if not member.daemon.alive():
                    self.fleet.start(member)
            self.nap(0.8, 2)
            for member in self.fleet.of(*GUESTS):
                self.fleet.dismiss(member, self.dice.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGKILL)))
            self.nap(0.1, 0.5)

    def worker_leaves(self):
        member = self.dice.choice(self.fleet.of(*WORKERS))
        self.fleet.send(member, signal.SIGTERM)
        self.nap(0.5, 2)
        return member.name

    def clocks_apart(self):
        """Its clock is wrong until the calm. One frontend of the two has one too: rightly, it finds every token expired or not yet
        valid, and accepts nothing."""
        if not FAKETIME:
            return "faketime is not installed"
        member = self.dice.choice(self.fleet.of(*WORKERS, *OBSERVERS, MISDATED))
        member.clock_s = self.dice.choice((3600, -3600))
        self.fleet.send(member, signal.SIGKILL)
        self.nap(2, 4)
        return f"{member.name} {member.clock_s:+d} s"

    def disk_full(self):
        if not self.disk.mounted:
            return "only root can have a file system of its own"
        self.disk.fill()
        self.nap(2, 4)
        self.disk.empty()
        return DISK

    def poison(self):
        self.load.add_poison()

    def deadly_job(self):
        return None if self.load.add_deadly() else "Kafka does not take it"

    FAULTS = (kill_storm, kill_workers_together, freeze_worker, freeze_another, kafka_restarted, kafka_killed, postgres_immediate,
              postgres_killed, postgres_away, delay, stall, swallow, refuse, cut, reset, orphan, rebalance_storm, worker_leaves,
              clocks_apart, disk_full, poison, deadly_job)

    def one(self, fault):
        began = time.monotonic()
        what = fault(self)
        name = fault.__name__.replace("_", " ")
        self.counts[name] = self.counts.get(name, 0) + 1
        self.tell(f"{name}{': ' + what if what else ''} ({time.monotonic() - began:.1f} s)")

    def run(self, wanted, duration_s):
        """Each of `wanted` once, then more until the time is over and everything has been submitted."""
        began = time.monotonic()
        faults = self.dice.sample(wanted, len(wanted))
        while faults or time.monotonic() - began < duration_s or not self.load.done():
            self.one(faults.pop() if faults else self.dice.choice(wanted))
            self.nap(0.2, 1)


def named(names):
    known = {fault.__name__: fault for fault in Storm.FAULTS}
    return [known[name] for name in names]



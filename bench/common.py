"""What the benchmarks share: a stack to run on, figures of processes, and how figures are printed."""

import argparse
import contextlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time

import confluent_kafka

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/system"))

import trabajos  # noqa: E402  (its folder had to be added first)

IDLE_PERCENT = 93  # a stack at rest leaves more
QUIET = {"LOG_LEVEL": "warn"}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Attached(trabajos.Stack):
    """A stack that somebody else started and will stop."""

    def __init__(self, folder):
        self.dir = pathlib.Path(folder).resolve()
        self.environ = dict(os.environ, STACK_DIR=str(self.dir))
        self.env = {}
        for line in self.run("env").stdout.splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            self.env[name] = value.strip("'\"")


@contextlib.contextmanager
def stack_of(arguments):
    """The stack named on the command line, else one of our own for as long as the block lasts."""
    if arguments.stack:
        yield Attached(arguments.stack)
        return
    stack = trabajos.Stack()
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def arguments_of(description, **numbers):
    """--stack DIR, and an integer option for each of `numbers` with its default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--stack", metavar="DIR", help="a stack that runs already (STACK_DIR of dev/stack); its jobs are deleted")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    return parser.parse_args()


def committed(consumer, offsets):
    try:
        return not offsets or consumer.commit(offsets=offsets, asynchronous=False)
    except confluent_kafka.KafkaException as error:
        if error.args[0].code() == confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID:
            return False
        raise


def refuse_workers(stack):
    """They would take part in what is measured."""
    lines = [line.split() for line in stack.run("status", check=False).stdout.splitlines()]
    busy = [line[0] for line in lines if line[0].startswith("worker-") and line[1] == "up"]
    if busy:
        sys.exit(f"{', '.join(busy)} of {stack.dir} would work on the benchmark's jobs: STACK_DIR={stack.dir} dev/stack worker 0 ends them")


def forget_jobs(stack):
    """An empty ledger, and nothing in Kafka that a worker would still bring into it. No worker may run."""
    refuse_workers(stack)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"], "group.id": "worker",
                                         "enable.auto.commit": False})
    try:
        ends = []
        for each in consumer.list_topics("trabajos", 10).topics["trabajos"].partitions:
            place = confluent_kafka.TopicPartition("trabajos", each)
            place.offset = consumer.get_watermark_offsets(place, 10)[1]
            ends.append(place)
        # A worker that was killed stays a member until its session runs out.
        trabajos.wait_for("the group of the workers empty", lambda: committed(consumer, ends), 90, 1)
    finally:
        consumer.close()
    if stack.sql("SELECT to_regclass('trabajos')")[0][0]:
        stack.sql("TRUNCATE trabajos")  # and all that belongs to it, by a trigger


def stop_all(*daemons):
    """The orderly way, so that what comes next finds the consumer groups empty."""
    for daemon in daemons:
        daemon.stop()


def repository(stack, name, files):
    """A repository of the stack, made where an earlier run has not."""
    if (stack.dir / "git" / f"{name}.git").exists():
        shutil.rmtree((stack.dir / "git" / f"{name}.git").resolve())
    return trabajos.Repository(stack, name, files)


# ---- figures

def percentile(values, percent):
    """By the nearest rank: a value that was measured."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def median(values):
    return percentile(values, 50)


def table(title, head, rows):
    """A Markdown table: the first column is text, the others are figures."""
    print(f"\n### {title}\n")
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for number, row in enumerate([head, *rows]):
        cells = [str(cell).ljust(width) if i == 0 else str(cell).rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) if i == 0 else "-" * (width + 1) + ":" for i, width in enumerate(widths)) + "|")
    sys.stdout.flush()


# ---- processes

def stat_of(pid):
    """The fields of /proc/PID/stat from the third on; None if it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return None


def family(pid):
    """The process and all that came from it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        stat = stat_of(entry.name) if entry.name.isdigit() else None
        if stat:
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu_s(pid):
    """Processor seconds that a process and its living and ended descendants have used."""
    total = 0
    for each in family(pid):
        stat = stat_of(each)
        if stat:
            total += int(stat[11]) + int(stat[12]) + int(stat[13]) + int(stat[14])
    return total / TICKS_PER_S


def service_pid(stack, name):
    """Of one of dev/stack's services."""
    return int((stack.dir / "run" / f"{name}.pid").read_text().split()[0])


def memory_kib(pid):
    """Rss, Pss and Private_Dirty of a process in KiB."""
    values = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        values[name] = int(value.split()[0])
    return values["Rss"], values["Pss"], values["Private_Dirty"]


# ---- the machine

def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).splitlines()[0].strip()
    except (OSError, IndexError):
        return "?"


def machine_times():
    """Ticks since boot by what the processors did: user, nice, system, idle, waiting, …"""
    return [int(value) for value in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def settle(timeout_s=90):
    """Waits until a stack that has just come up is at rest, or the machine will not be. How idle it is then, in percent."""
    end = time.monotonic() + timeout_s
    while True:
        before = machine_times()
        time.sleep(3)
        spent = [now - then for now, then in zip(machine_times(), before)]
        idle = 100 * (spent[3] + spent[4]) / (sum(spent) or 1)
        if idle > IDLE_PERCENT or time.monotonic() > end:
            return idle


def describe(stack, idle):
    """On what the figures were measured."""
    kafka = first_line("sed", "-n", r"s:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p", str(ROOT / "dev/pom.xml"))
    rows = [("processor", f"{processor()}, {os.cpu_count()} cores"),
            ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
            ("kernel", os.uname().release),
            ("libraries", ", ".join(f"{name} {first_line('pkg-config', '--modversion', name)}"
                                    for name in ("rdkafka", "libmicrohttpd", "libpq", "cjose", "libgit2"))),
            ("services", f"PostgreSQL {stack.sql('SHOW server_version')[0][0]}, Kafka {kafka} on {first_line('java', '--version')}"),
            ("peer and load", f"Node {first_line('node', '--version')}, {first_line('wrk', '--version').split(' [')[0]}"),
            ("idle before", f"{idle:.0f} %" + ("" if idle > IDLE_PERCENT else " (others use this machine: the figures are worth little)"))]
    print("\n".join(f"- {name}: {value}" for name, value in rows), flush=True)

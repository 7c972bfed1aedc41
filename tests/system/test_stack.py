"""dev/stack itself: what a start that is cut short leaves behind, which is nothing but what ran before."""

import os
import pathlib
import signal
import subprocess

import pytest

import trabajos

SERVICES = ("postgres", "kafka", "keycloak", "git")


@pytest.fixture
def own():
    """A stack of its own, that nothing of runs yet."""
    stack = trabajos.Stack()
    stack.environ.pop("TRABAJOS_BIN", None)
    yield stack
    stack.down()


def begin(stack, *arguments, **environment):
    """dev/stack up, in a session of its own, as from a terminal: what is started in the background ignores SIGINT, and its children do."""
    return subprocess.Popen([trabajos.ROOT / "dev/stack", "up", *arguments], env={**stack.environ, **environment}, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def cut_short(up, number):
    """What it printed, and its exit code."""
    up.send_signal(number)
    said = up.communicate(timeout=90)[0]
    assert "interrupted: ending what this has started" in said, said
    return up.returncode


def pids(stack):
    """Who has enrolled and still runs: {name: pid}."""
    found = {}
    for file in (stack.dir / "run").glob("*.pid"):
        pid, start, *_ = file.read_text().split()
        stat = pathlib.Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[19] == start:
            found[file.stem] = int(pid)
    return found


def marked(stack):
    """The processes that bear the stack's mark, or work in its folder."""
    mark = f"TRABAJOS_STACK={(stack.dir / 'id').read_text()}".encode()
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0") or os.readlink(process / "cwd").startswith(str(stack.dir)):
                found.append((process / "cmdline").read_bytes())
        except OSError:
            pass  # it has ended, or is another user's
    return found


def test_a_start_that_is_cut_short_ends_what_it_started_and_leaves_what_ran(own):
    up = begin(own)
    trabajos.wait_for("all are on their way", lambda: set(pids(own)) == set(SERVICES))
    assert cut_short(up, signal.SIGINT) == 128 + signal.SIGINT
    assert not pids(own) and not marked(own)

    own.run("start", "postgres")  # works at once
    before = pids(own)
    up = begin(own, "--with-pid", str(os.getpid()))
    lines = iter(up.stdout.readline, "")
    assert any(line.startswith("git ") for line in lines), "the others come up as well"
    assert set(pids(own)) > {"postgres", "git", "watchdog"}
    assert cut_short(up, signal.SIGTERM) == 128 + signal.SIGTERM
    after = pids(own)
    assert after.pop("watchdog", None) and after == before, "it ran before"
    assert own.run("status", check=False).stdout.count(" up ") == 2


def test_a_start_that_fails_ends_what_it_started(own):
    up = begin(own, STACK_TIMEOUT="0")
    said = up.communicate(timeout=90)[0]
    assert up.returncode == 69 and "not ready after 0 s" in said, said
    assert not pids(own) and not marked(own)

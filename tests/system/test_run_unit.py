"""tests/run-unit, with programs that are made up: what a machine does not offer fails the one that says so, unless the list beside it
excuses it there. No stack is needed."""

import os
import re
import shutil
import stat
import subprocess

import pytest

import trabajos

REAL = trabajos.ROOT / "tests/unit/not_offered.txt"
LIST = """# a comment | must not * | be taken for a line
any      | the moon: *          | it is far
emulated | a beam: [yz]         | too slow
<6.7     | a port               | newer than this kernel
"""


def write_program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Runner:
    """A copy of the script with a list of its own, on a machine whose kernel says what it is told to."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "unit").mkdir()
        (folder / "bin").mkdir()
        (folder / "unit/not_offered.txt").write_text(LIST, encoding="utf-8")
        shutil.copy(trabajos.ROOT / "tests/run-unit", folder)

    def run(self, *lacks, failed=0, places="", release="6.12.0-1-amd64"):
        write_program(self.folder / "bin/uname", f"echo {release}")
        said = "\n".join(f"echo 'not offered here: {what}'" for what in lacks)
        ends = "echo ' 1 FAILED TEST(S)'; exit 1" if failed else "exit 0"
        program = write_program(self.folder / "test_it", f"{said}\necho '[  PASSED  ] 2 test(s).'\n{ends}")
        environment = {name: value for name, value in os.environ.items() if name not in ("TEST_PATIENCE", "container")}
        environment |= {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "UNIT_PLACES": places}
        return subprocess.run([self.folder / "run-unit", program], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


def is_excused(done):
    assert done.stderr == ""
    count = done.stdout.splitlines()[-1]
    if done.returncode == 0:
        assert count == "2 passed, 0 failed" and "not in unit/" not in done.stdout
    else:
        assert count == "2 passed, 1 failed" and "lacks what it must not" in done.stdout
    return done.returncode == 0


@pytest.mark.parametrize("what", ["the moon: no rocket", "the moon: [closed] *"])
def test_what_the_list_names_is_said_and_excused(runner, what):
    done = runner.run(what)
    assert is_excused(done) and f"    not offered here: {what}" in done.stdout


@pytest.mark.parametrize("what", ["the sun: too hot", "to the moon: no rocket", "must not be", "the moon", "a beam: x"])
def test_what_it_does_not_name_fails_the_program_that_lacks_it(runner, what):
    done = runner.run("the moon: no rocket", what, places="emulated")
    assert not is_excused(done)
    assert re.findall("not in unit/not_offered.txt: (.*)", done.stdout) == [what]


def test_what_may_be_lacking_elsewhere_fails_here(runner):
    assert not is_excused(runner.run("a beam: y"))
    assert is_excused(runner.run("a beam: y", places="emulated"))


@pytest.mark.parametrize("release, excused", [("6.1.0-56-cloud-amd64", True), ("6.6.99", True), ("5.10.0", True), ("6.7.0", False),
                                              ("6.7-rc1", False), ("6.12+deb13-amd64", False), ("6.18.44", False), ("10.0", False)])
def test_an_old_kernel_may_lack_what_is_newer(runner, release, excused):
    assert is_excused(runner.run("a port", release=release)) == excused


def test_a_program_that_fails_anyhow_counts_once_and_says_what_it_lacks(runner):
    done = runner.run("the sun: too hot", failed=1)
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "2 passed, 1 failed"
    assert "not in unit/not_offered.txt: the sun: too hot" in done.stdout


def test_the_list_gives_a_known_place_and_a_reason_for_each():
    lines = [line for line in REAL.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert len(lines) > 20
    for line in lines:
        where, what, why = map(str.strip, line.split("|"))
        assert re.fullmatch(r"any|user|container|emulated|<\d+\.\d+", where) and what.strip("* ") and why, line

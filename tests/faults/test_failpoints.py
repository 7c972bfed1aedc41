"""No failpoint is compiled in and never given to a daemon."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/faults"), str(ROOT / "tests/system")]

import world  # noqa: E402


@pytest.fixture
def built(tmp_path):
    """Programs that have all the failpoints that they are given, and the sources' folders."""
    for kind, names in world.FAILPOINTS.items():
        (tmp_path / f"trabajos-{kind}").write_bytes(b"".join(b"\0" + name.encode() + b"\0" for name in names))
    (tmp_path / "lib").mkdir()
    return tmp_path


def test_each_failpoint_of_the_sources_is_given_to_a_daemon(built):
    assert list(world.unarmed(ROOT, built, world.FAILPOINTS)) == []


def test_each_failpoint_that_is_given_is_in_the_sources():
    known = {name.strip('"') for path in world.sources(ROOT) for name in world.FAILPOINT.findall(path.read_text())}
    assert known == set(world.ALL_FAILPOINTS)


@pytest.mark.parametrize("text", ['failpoint("new.point");', 'if (failpoint_fails("new.point")) return;', "failpoint(name);"])
def test_a_failpoint_that_nobody_is_given_is_found(built, text):
    (built / "lib/new.c").write_text(text)
    assert len(list(world.unarmed(built, built, world.FAILPOINTS))) == 1


def test_a_failpoint_that_its_program_does_not_have_is_found(built):
    (built / "trabajos-observer").write_bytes(b"webhook.taken\0")
    assert any("webhook.posted" in each for each in world.unarmed(built, built, world.FAILPOINTS))

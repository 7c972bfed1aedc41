"""The fault suite's short form: a fixed choice of faults and failpoints under a fixed seed. `make faults` is the long one."""

import pathlib
import sys

import pytest
import trabajos

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "faults"))

import storm  # noqa: E402
import suite  # noqa: E402
import world  # noqa: E402

PROGRAMS = trabajos.ROOT / "build/gcc-fail/bin"
FAULTS = storm.named(["kill_storm", "freeze_worker", "postgres_immediate", "kafka_killed", "stall", "orphan", "rebalance_storm", "poison"])


@pytest.fixture(scope="module")
def fault_stack():
    stack = world.FaultStack()
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def test_nothing_accepted_is_lost_and_nothing_counted_twice_while_everything_fails(fault_stack, capsys):
    assert (PROGRAMS / "trabajos-worker").exists(), "build them: make FAILPOINTS=1"

    def tell(text):
        with capsys.disabled():
            print(f"\n  {text}", end="", flush=True)
    with suite.programs(PROGRAMS):
        result = suite.play(fault_stack, suite.Plan(seed=4, jobs=150, per_s=12, duration_s=0, faults=FAULTS), tell)
    assert result.violations == []
    assert result.hits, "no failpoint was reached"

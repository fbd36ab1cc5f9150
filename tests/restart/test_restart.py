"""The judge of restarts knows a start that costs what there was."""

from pathlib import Path

import pytest

from tests.restart.run import Measured, State, judged, started, states
from tests.restart.shape import GROUPS, PARTITIONS


def row(commits: int, ready_s: float) -> Measured:
    return Measured(State(commits, commits, commits, Path()), ready_s=ready_s, cpu_s=ready_s)


def test_what_is_slow_and_what_grows_is_told() -> None:
    assert judged([row(40_000, 1.0), row(1_000_000, 1.3), row(4_000_000, 1.2)]) == []
    assert len(judged([row(40_000, 5.1)])) == 1
    (grown,) = judged([row(40_000, 1.0), row(1_000_000, 1.2), row(4_000_000, 1.4)])
    assert grown.startswith("4,000,000 commits make a start 1.40 times as long")


@pytest.mark.slow
def test_a_killed_node_with_ten_thousand_groups_starts_again(tmp_path: Path) -> None:
    each = GROUPS * PARTITIONS
    once, twice = states(tmp_path, (each, 2 * each))
    assert (once.records, twice.records) == (GROUPS + each, GROUPS + 2 * each)
    assert 0 < twice.kept < twice.records, "what a snapshot stands for is gone"
    assert started(once.directory)[0] > 0
    assert started(twice.directory)[0] > 0

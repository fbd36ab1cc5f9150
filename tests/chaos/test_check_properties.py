"""Histories of a correct log never alarm; a fault that is planted in one is found."""

import pytest

from tests.chaos.check import check
from tests.chaos.checks.report import Report
from tests.chaos.history_reading import in_order
from tests.chaos.world_run import run

STEPS = 900
SEEDS = 60
OFTEN = 6
PLANTS = {
    "doubled": {"duplicate"},
    "reordered": {"reordered", "nonmonotonic-send"},
    "failed-is-stored": {"read-of-failed"},
    "acked-elsewhere": {"moved"},
    "acked-is-lost": {"lost-write", "unseen", "inconsistent-offset"},
    "hole": {"lost-write", "poll-skip", "int-poll-skip"},
    "append-time-falls": {"append-time-back"},
    "epoch-falls-in-the-log": {"epoch-back"},
    "metadata-falls": {"epoch-back"},
    "two-leaders": {"two-leaders"},
    "diverged-for-nothing": {"divergence"},
    "led-back": {"nonmonotonic-poll"},
    "led-past": {"poll-skip"},
    "mark-falls": {"hw-back"},
    "shows-too-little": {"ack-not-shown"},
    "found-too-early": {"time-before"},
    "found-too-late": {"time-skip"},
    "begins-before": {"stale-start", "commit-back", "group-gap"},
    "begins-past": {"group-gap"},
    "two-owners": {"two-owners"},
    "commits-lower": {"commit-back"},
    "told-too-little": {"stale-commit"},
    "told-too-much": {"invented-commit"},
    "commit-is-lost": {"stale-commit", "stale-start", "commit-back"},
}
"""What is planted, and by which rules it may be found."""


def _judged(seed: int, plant: str = "") -> tuple[Report, bool]:
    world = run(seed, STEPS, plant)
    return check(in_order(world.events)), world.planted


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_correct_log_never_alarms(seed: int) -> None:
    report, _ = _judged(seed)
    assert report.anomalies == []


def test_the_model_does_everything_that_is_hard() -> None:
    counts: dict[str, int] = {}
    for seed in range(SEEDS):
        for what, count in _judged(seed)[0].counts.items():
            counts[what] = counts.get(what, 0) + count
    for what in (
        "acknowledged before a lossy election and seen by nobody",
        "acknowledged without acks=all and lost",
        "commits acknowledged",
        "commits refused",
        "found at another offset too, of who is not idempotent",
        "lossy elections",
        "offsets of groups told",
        "time queries answered",
        "unknown outcomes that nobody saw",
        "unknown outcomes that were in the log",
        "values refused",
    ):
        assert counts.get(what, 0) >= 10, what


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_found(plant: str) -> None:
    planted = 0
    for seed in range(SEEDS):
        report, is_planted = _judged(seed, plant)
        planted += is_planted
        if is_planted:
            assert set(report.found) & PLANTS[plant], f"seed {seed}: {report.anomalies}"
        else:
            assert not report.found
        if planted == OFTEN:
            return
    pytest.fail(f"{plant} came about in {planted} of {SEEDS} seeds")

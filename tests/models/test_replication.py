"""The model of replication: what it looks at holds, and each fault that it can express does not."""

import pytest

from tests.models.replication import roam, search
from tests.models.replication_faults import FAULTS, plant
from tests.models.replication_state import Limits

DEEP = Limits(appends=4, epochs=5, faults=4, shrinks=2)
COPIED = """
    append(1) send(1,2) send(1,3) deliver(1,2) deliver(1,3) write(1) write(2) write(3)
"""
"""One record that all three have written."""
REPORTED = "report(2,1) deliver(2,1) report(3,1) deliver(3,1)"
COMMITTED_BY_2_AND_3 = f"{COPIED} flush(2) flush(3) {REPORTED}"
COMMITTED_BY_1_AND_3 = f"{COPIED} flush(1) flush(3) {REPORTED}"
NEAR = {
    "registration ignored at join": (
        f"""
        lag(1,3) rule_on(1) learn(1) {COPIED} report(3,1) deliver(3,1) power_cut(3) start(3)
        flush(1) flush(2) report(2,1) deliver(2,1)
        """,
        "ELECTABLE_HOLDS_COMMITTED",
    ),
    "unclean member elected while a clean one lives": (
        f"{COMMITTED_BY_1_AND_3} power_cut(2) start(2) fence(1)",
        "ELECTABLE_HOLDS_COMMITTED",
    ),
    "recovery does not wait for all": (
        f"{COMMITTED_BY_2_AND_3} power_cut(1,2,3) start(1)",
        "ELECTABLE_HOLDS_COMMITTED",
    ),
    "follower accepts an older epoch": (
        """
        fence(1) learn(2) begin(2) learn(3) deliver(3,2) send(2,3) deliver(2,3)
        append(1) send(1,3) append(2) send(2,3) write(2) flush(2) deliver(1,3) deliver(2,3)
        write(3) flush(3)
        """,
        "ACKED_IS_FLUSHED",
    ),
}
"""Faults that need a certain history: it is told, and the rest is searched."""
FAR = {
    "high watermark from the committed ISR only": (1, "ELECTABLE_HOLDS_COMMITTED"),
    "high watermark without the flush term": (0, "ACKED_IS_FLUSHED"),
    "follower accepts a gap": (0, "LOG_HAS_NO_GAP"),
    "logs are believed to match": (0, "SENT_IS_HELD"),
    "truncates to the high watermark": (0, "ELECTABLE_HOLDS_COMMITTED"),
    "position reported before it is written": (0, "ACKED_IS_FLUSHED"),
    "an unclean restart is forgotten": (0, "ELECTABLE_HOLDS_COMMITTED"),
    "joins below the epoch start": (1, "ELECTABLE_HOLDS_COMMITTED"),
    "leader shows less than its epoch's start": (0, "SHOWN_MARK_NEVER_FALLS"),
}
"""Faults that a walk comes upon, with the seed of one that does soon."""
NOT_HERE = {
    "k counted over the maximal view",  # with three replicas and k = 2 any two share a flusher
    "registration ignored in reports",  # a link of the model keeps its order over a restart
    "ends count before the logs match",  # no follower tells any before: both sides see to it
    "tells the time of its own clock",  # there is no time; tests/sim has it, and this:
    "answers of who has left count",
    "cuts by offset alone",  # tests/sim/test_replication.py: a long history
}


def test_the_nearest_states_hold() -> None:
    found = search(Limits(), states=12_000)
    assert (found.broken, found.path) == (None, ())
    assert found.states >= 12_000


def test_walks_hold() -> None:
    found = roam(DEEP, states=15_000, seed=1)
    assert (found.broken, found.path) == (None, ())
    assert found.depth >= 100


def test_every_fault_is_told_of() -> None:
    assert sorted([*NEAR, *FAR, *NOT_HERE]) == sorted(FAULTS)


@pytest.mark.parametrize("fault", NEAR)
def test_a_fault_is_found_near_its_history(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, invariant = NEAR[fault]
    plant(fault, monkeypatch)
    found = search(DEEP, states=4_000, script=script)
    assert found.broken == invariant


@pytest.mark.parametrize("fault", NEAR)
def test_without_the_fault_that_history_holds(fault: str) -> None:
    script, _ = NEAR[fault]
    if fault != "follower accepts an older epoch":  # with it, links carry what they would not
        assert search(DEEP, states=1_000, script=script).broken is None


@pytest.mark.parametrize("fault", FAR)
def test_a_walk_finds_a_fault(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, invariant = FAR[fault]
    plant(fault, monkeypatch)
    assert roam(DEEP, states=30_000, seed=seed).broken == invariant


def test_flushes_of_a_minority_do_not_survive_a_power_cut() -> None:
    """The control: RF 3 with min.insync.replicas 1."""
    limits = Limits(min_insync_replicas=1)
    script = f"{COPIED} flush(1) {REPORTED} power_cut(1,2,3)"
    assert search(Limits(), states=1_000, script=COPIED).broken is None
    found = search(limits, states=4_000, script=script)
    assert found.broken == "POWER_CUT_LOSES_NOTHING"

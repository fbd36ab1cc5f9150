"""What counts as lost, what a control must show, and whose disk may be damaged."""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.history import Ack, AnyEvent, Drained, Read
from tests.chaos.nodes_fate import Fate, fate_of
from tests.chaos.nodes_plan import READS_ALL, RUN, Kind

needs_clients = pytest.mark.skipif(
    find_spec("confluent_kafka") is None, reason="confluent-kafka makes the load"
)
AT = "orders/0"
ACKED: list[tuple[str, AnyEvent]] = [("w", Ack(1, at=AT, n=0, count=4, offset=0))]


def read(*runs: tuple[int, str, int, int], end: int | None) -> list[tuple[str, AnyEvent]]:
    """Return what is written down when these were read, and the log ends there; None: not known."""
    events: list[tuple[str, AnyEvent]] = [(READS_ALL, Read(2, at=AT, runs=list(runs)))]
    if end is not None:
        events += [(RUN, Drained(3, at=AT, end=end)), (RUN, Drained(3, at=AT, end=end, group="g"))]
    return events


@pytest.mark.parametrize(
    ("then", "fate"),
    [
        (read((0, "w", 0, 4), end=4), Fate(kept=4)),
        (read((0, "w", 0, 2), end=2), Fate(kept=2, cut=2)),
        (read((0, "w", 0, 2), (2, "v", 0, 2), end=4), Fate(kept=2, replaced=2)),
        (read((0, "w", 0, 2), (3, "w", 3, 1), end=4), Fate(kept=3, unread=1)),
        (read(end=4), Fate(unread=4)),
        (read((0, "w", 0, 2), end=None), Fate()),
        (
            [("v", Ack(2, at=AT, n=7, offset=3)), *read((0, "w", 0, 3), (3, "v", 7, 1), end=4)],
            Fate(kept=4, replaced=1),
        ),
        ([("r", Read(2, at=AT, runs=[(0, "v", 0, 4)])), *read(end=4)], Fate(unread=4)),
    ],
)
def test_lost_is_what_is_cut_or_replaced_and_not_what_cannot_be_read(
    then: list[tuple[str, AnyEvent]], fate: Fate
) -> None:
    found = fate_of([*ACKED, *then])
    assert found == fate
    assert found.lost == fate.cut + fate.replaced


@needs_clients
@pytest.mark.parametrize(
    ("fate", "says"),
    [
        (Fate(kept=1, cut=1), None),
        (Fate(kept=1, replaced=1), None),
        (Fate(kept=1, unread=1_000), "nothing was lost: the cuts prove nothing"),
        (Fate(kept=1), "nothing was lost"),
    ],
)
def test_a_control_that_must_lose_must_be_seen_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fate: Fate, says: str | None
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    told = ran(0, monkeypatch, fate=fate, problems=["ANOMALY: poll-skip"])
    assert (told == []) if says is None else (says in told[0])


@needs_clients
@pytest.mark.parametrize("control", [0, 1, 2])
def test_a_control_forgives_no_damage_of_honest_disks(
    control: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    harmed = ["node 3: 1 damaged places"]
    told = ran(control, monkeypatch, fate=Fate(cut=9), problems=harmed, harmed=harmed)
    assert "node 3: 1 damaged places" in told[0]


def ran(control: int, monkeypatch: pytest.MonkeyPatch, **outcome: Any) -> list[str]:
    """Judge a control whose campaign, which takes minutes, comes to this."""
    from tests.chaos import nodes_controls  # noqa: PLC0415 - needs confluent-kafka
    from tests.chaos.nodes_campaign import Plan  # noqa: PLC0415
    from tests.chaos.nodes_outcome import Outcome  # noqa: PLC0415

    class Known:
        def __init__(self, plan: Plan, folder: Path, *, say: Any) -> None:
            self._plan = plan

        def run(self) -> Outcome:
            return Outcome(self._plan.seed, **outcome)

    monkeypatch.setattr(nodes_controls, "Campaign", Known)
    one = nodes_controls.CONTROLS[control]
    return nodes_controls._run(one, Plan({Kind.POWER_CUTS: 1}, 1), cuts=1, say=lambda _: None)


@needs_clients
def test_only_disks_that_lie_may_have_damage(tmp_path: Path) -> None:
    from tests.chaos.nodes_campaign import Campaign, Plan  # noqa: PLC0415
    from tests.chaos.nodes_controls import CONTROLS  # noqa: PLC0415
    from tests.chaos.nodes_world import Ended  # noqa: PLC0415

    assert [sorted(control.liars) for control in CONTROLS] == [[1, 2, 3], [1, 2], [1]]
    environment = {number: {"LD_PRELOAD": "something"} for number in (1, 3)}
    plan = Plan({}, 1, environment=environment, liars=frozenset({1}))
    campaign = Campaign(plan, tmp_path, say=lambda _: None)
    campaign._harm([Ended(number, 0, [], ["log_corrupt"]) for number in (1, 2, 3)])
    assert [one[:6] for one in campaign.outcome.harmed] == ["node 2", "node 3"]
    assert campaign.outcome.problems == campaign.outcome.harmed

"""A short month stays flat, and each leak that is planted shows where it leaks."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.raft.entry_log import EntryLog
from cluster.replication.waiting import Waiting
from logstore import partition_checkpoint
from logstore.journal import Journal
from logstore.partition_log import PartitionLog
from logstore.producer_state import ProducerState
from logstore.read_cache import ReadCache
from logstore.round_writer import RoundWriter
from logstore.settings import KIB
from tests.sim.days import HOUR_MS, month
from tests.sim.flat import (
    ALLOCATED,
    DESCRIPTORS,
    DISK_BYTES,
    FILES,
    METADATA_FILES,
    RESIDENT,
    Verdict,
    judge,
    slope,
)

SHORT, WINDOW = 14, 8
"""Days; a steady state is reached on the fourth."""
HOURS = (0, 6, 12, 18)


@pytest.fixture(autouse=True)
def snapshots_come_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a partition reaches its second one, and its steady state, after weeks."""
    monkeypatch.setattr(partition_checkpoint, "SNAPSHOT_BYTES", KIB)


def lived(directory: Path) -> dict[str, Verdict]:
    """Return the verdicts on a short month."""

    async def live() -> list[Verdict]:
        async with month(directory / "data", hours=HOURS, step_ms=HOUR_MS) as life:
            await life.live(SHORT, lambda day, held: None)
            return judge(life.series, WINDOW)

    return {verdict.name: verdict for verdict in asyncio.run(live())}


def test_a_short_month_stays_flat(tmp_path: Path) -> None:
    verdicts = lived(tmp_path)
    # What Python itself still warms up in so few days is more than a leak would be.
    leaks = [str(one) for name, one in verdicts.items() if name != RESIDENT and not one.flat]
    assert leaks == []
    for name in (ALLOCATED, RESIDENT, FILES, DISK_BYTES, DESCRIPTORS, "segments", "producers"):
        assert verdicts[name].median > 0, name
    assert verdicts["deleted topics"].median == 0


def unlink_nothing(log: PartitionLog, end: object) -> list[str]:
    del end
    log.upkeep.trimmed.clear()
    return []


def never_recycle(journal: Journal, covered: int) -> None:
    while len(journal._used) > 1 and journal._used[0].end_sequence <= covered:
        journal._used.popleft()


def nothing(*arguments: object) -> None:
    del arguments


LEAKS: dict[str, tuple[object, str, Callable[..., object], set[str]]] = {
    "producers never expire": (ProducerState, "expire", nothing, {"producers"}),
    # One or two files a day are lost among those that come and go; their bytes are not.
    "journal files are never used again": (Journal, "release", never_recycle, {DISK_BYTES}),
    "trimmed files stay": (
        partition_checkpoint, "_unlink", unlink_nothing, {FILES, DISK_BYTES}
    ),
    "files of deleted partitions stay open": (
        RoundWriter, "_forget_directory", nothing, {DESCRIPTORS, "files of the writer"}
    ),
    "trimmed segments are kept for readers": (ReadCache, "forget", nothing, {"open segments"}),
    "the metadata log is never cut": (EntryLog, "discard", nothing, {METADATA_FILES}),
    "readers that left still wait": (Waiting, "cancel_read", nothing, {"waiters"}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_seen(leak: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, planted, seen = LEAKS[leak]
    monkeypatch.setattr(where, name, planted)
    verdicts = lived(tmp_path)
    rising = {name for name, one in verdicts.items() if not one.flat and one.rise > 0}
    assert seen <= rising, [str(verdicts[name]) for name in sorted(seen)]


def test_the_judge_knows_a_leak_from_scatter() -> None:
    def verdict(*values: float) -> Verdict:
        (one,) = judge({"x": [0.0, *values]}, len(values))
        return one

    assert slope([3, 5, 7]) == (2, 0)
    assert verdict(*[100] * 20).flat
    assert verdict(*[0] * 20).flat
    assert verdict(*[2, 3] * 10).flat, "a count of few that comes and goes"
    assert not verdict(*[day // 5 for day in range(20)]).flat, "of nothing, 1 % is nothing"
    assert not verdict(*(1_000 + day for day in range(20))).flat, "0.1 % a day"
    assert verdict(*(1_000 + day % 2 for day in range(20))).flat
    assert verdict(*(1_000 + 30 * (day % 2) for day in range(20))).flat
    assert not verdict(*(1_000 + 30 * (day % 2) + 3 * day for day in range(20))).flat
    assert not verdict(*(1_000 - day for day in range(20))).flat, "falling is not flat"

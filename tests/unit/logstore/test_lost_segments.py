"""Searches in a segment whose file is lost or cut short: refused with the place, no more."""

import pytest

from api.sim.disk import SimDisk
from logstore.paths import LOG
from logstore.segment_view import SegmentView
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import Position
from tests.unit.logstore.test_log_directory import SMALL, opened
from tests.unit.logstore.test_scrub import closed, name

START = Position(0)


def viewed() -> tuple[SimDisk, SegmentView]:
    """Return a closed segment that was opened again, of which nothing is in memory."""
    disk = SimDisk()
    _, log = closed(disk)
    disk.kill()
    log = opened(disk, SMALL).directory.partitions[log.id]
    log.segment_list[0].reader = None
    return disk, log.segments()[0]


def test_one_whose_file_is_lost_is_corrupt() -> None:
    disk, view = viewed()
    disk.unlink(name(LOG))
    for look in (view.load_times, lambda: view.block(START, Position(view.size_bytes))):
        with pytest.raises(RequestError, match="the file is missing") as refused:
            look()
        assert refused.value.code is ErrorCode.CORRUPT_LOG
    assert view.live.damage


def test_one_that_went_meanwhile_is_not() -> None:
    disk, view = viewed()
    disk.unlink(name(LOG))
    view.live.remove()
    with pytest.raises(StorageFailed):
        view.load_times()
    with pytest.raises(StorageFailed):
        view.block(START, Position(view.size_bytes))
    assert not view.live.damage


@pytest.mark.parametrize("left", [0, 60, 100, 200])
def test_one_whose_file_is_cut_short_is_corrupt(left: int) -> None:
    disk, view = viewed()
    disk.open(name(LOG)).truncate(left)
    with pytest.raises(RequestError) as refused:
        view.block(START, Position(view.size_bytes))
    assert refused.value.code is ErrorCode.CORRUPT_LOG
    assert view.live.damage

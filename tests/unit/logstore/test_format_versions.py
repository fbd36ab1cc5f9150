"""A newer release's files: those that do not refuse a newer version stand behind the identity."""

import random
from collections.abc import Callable
from types import ModuleType
from typing import Final

import pytest

from api.sim.disk import SimDisk
from api.sim.image import Image
from logstore import identity, leader_epochs, offset_index, producer_snapshot, times
from logstore.identity import Identity
from logstore.leader_epochs import LeaderEpochs
from logstore.log_directory import LogDirectory, Opened
from logstore.offset_index import OffsetIndex
from logstore.paths import CHECKPOINT, CLEAN, IDENTITY
from logstore.producer_state import ProducerState
from logstore.replace_file import seal
from logstore.settings import KIB, LogSettings
from logstore.times import Times
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import AppendTimeMs, NodeId, Offset, RegistrationEpoch, WallMs

SELF: Final = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(0))
MADE_AGAIN: Final = (times, offset_index, producer_snapshot, leader_epochs)
WITH_IDENTITY: Final = {1: (1, 1, 1, 1)}
"""Versions of the formats that are made again, by the version of `identity` that came with them.

A new version of one of them is a new row, under a new version of `identity`: a row that a release
has written stays as it is. Without that an older release takes such a file for a damaged one.
"""
FILES: Final[dict[ModuleType, tuple[Callable[[], bytes], Callable[[bytes], object]]]] = {
    times: (
        lambda: Times(Offset(0)).encode_head(),
        lambda file: times.decode(file, Offset(0)),
    ),
    offset_index: (
        lambda: OffsetIndex(Offset(0)).encode(),
        lambda file: OffsetIndex.decode(file, Offset(0)),
    ),
    producer_snapshot: (
        lambda: producer_snapshot.encode(ProducerState(limit=1, expiration_ms=1), Offset(0)),
        producer_snapshot.decode,
    ),
    leader_epochs: (lambda: leader_epochs.encode(LeaderEpochs()), leader_epochs.decode),
}


def test_a_format_that_is_made_again_rises_with_the_identity() -> None:
    assert WITH_IDENTITY[identity.VERSION] == tuple(one.VERSION for one in MADE_AGAIN)
    assert list(WITH_IDENTITY) == list(range(1, identity.VERSION + 1))
    assert len(set(WITH_IDENTITY.values())) == len(WITH_IDENTITY)


@pytest.mark.parametrize("module", MADE_AGAIN, ids=lambda module: module.__name__)
def test_its_own_version_is_not_told_from_damage(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of these four files alone; every other one refuses the directory."""
    write, read = FILES[module]
    read(write())
    with monkeypatch.context() as newer:
        newer.setattr(module, "VERSION", module.VERSION + 1)
        file = write()
        read(file)
    with pytest.raises(MalformedError, match=f"version {module.VERSION + 1}"):
        read(file)


def opened(disk: SimDisk) -> Opened:
    settings = LogSettings(journal_file_bytes=64 * KIB)
    return LogDirectory.open(
        disk, settings, rand=random.Random(1), now_wall=WallMs(0), identity=SELF
    )


def held(disk: SimDisk) -> Image:
    return disk.platter.image()


@pytest.mark.parametrize("name", [IDENTITY, CHECKPOINT, CLEAN])
def test_a_newer_one_of_the_small_files_refuses_before_anything_is_changed(name: str) -> None:
    disk = SimDisk()
    opened(disk).directory.mark_clean(AppendTimeMs(0))
    disk.kill()
    whole = held(disk)
    newer = bytearray(whole.files[name][:-4])
    newer[8:10] = (99).to_bytes(2, "big")
    changed = Image({**whole.files, name: seal(bytes(newer))}, whole.directories)
    disk = SimDisk(changed)
    with pytest.raises(DirectoryRefused, match="has format 99") as refused:
        opened(disk)
    assert refused.value.exit_code is DirectoryExit.NEWER_FORMAT
    disk.kill()
    assert held(disk) == changed

"""A directory that lacks much: what a first start left, or one that lost the rest."""

import random

import pytest

from api.sim.disk import SimDisk
from api.sim.image import Image
from logstore.identity import Identity, encode
from logstore.log_directory import LogDirectory, Opened
from logstore.replace_file import read_file, replace_file
from logstore.settings import KIB, LogSettings
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import NodeId, RegistrationEpoch, WallMs

UNREGISTERED = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(0))
REGISTERED = UNREGISTERED._replace(registration_epoch=RegistrationEpoch(1))
WANTED = UNREGISTERED._replace(directory=b"directory uuid 2")


def opened(disk: SimDisk) -> Opened:
    settings = LogSettings(journal_file_bytes=64 * KIB)
    return LogDirectory.open(
        disk, settings, rand=random.Random(1), now_wall=WallMs(0), identity=WANTED
    )


@pytest.mark.parametrize(
    ("alone", "exit_code", "says"),
    [
        (b"not an identity", DirectoryExit.FAILED, "identity at byte 0"),
        (b"", DirectoryExit.FAILED, "identity at byte 0"),
        (encode(REGISTERED)[:-1], DirectoryExit.FAILED, "identity at byte 0"),
        (encode(REGISTERED), DirectoryExit.FAILED, "checkpoint is missing"),
        (encode(UNREGISTERED._replace(node=NodeId(7))), DirectoryExit.FENCED, "to node 7, not 0"),
        (encode(UNREGISTERED._replace(cluster_id="ebb")), DirectoryExit.FENCED, "to cluster ebb"),
    ],
)
def test_an_identity_alone_is_not_replaced_unless_a_first_start_left_it(
    alone: bytes, exit_code: DirectoryExit, says: str
) -> None:
    disk = SimDisk()
    replace_file(disk, "identity", alone)
    with pytest.raises(DirectoryRefused, match=says) as refused:
        opened(disk)
    assert refused.value.exit_code is exit_code
    assert disk.list("") == ["identity"]
    assert read_file(disk, "identity") == alone


def test_a_first_start_that_a_crash_has_cut_short_is_begun_again() -> None:
    disk = SimDisk()
    replace_file(disk, "identity", encode(UNREGISTERED))
    assert opened(disk).identity == WANTED


@pytest.mark.parametrize("folder", ["journal", "partitions"])
def test_a_missing_folder_is_told_as_what_it_is(folder: str) -> None:
    disk = SimDisk()
    opened(disk)
    disk.kill()
    whole = disk.platter.image()
    files = {name: held for name, held in whole.files.items() if not name.startswith(folder)}
    folders = tuple(name for name in whole.directories if name != folder)
    with pytest.raises(DirectoryRefused, match=f"^{folder} is missing, yet") as refused:
        opened(SimDisk(Image(files, folders)))
    assert refused.value.exit_code is DirectoryExit.FAILED

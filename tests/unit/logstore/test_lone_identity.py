"""A directory with nothing but its identity: what a first start left, or one that lost the rest."""

import random

import pytest

from api.sim.disk import SimDisk
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

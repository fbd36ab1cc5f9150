"""Files of a quorum's member that are damaged, older or another's: the start is refused."""

from random import Random

import pytest

from api.sim.disk import SimDisk
from cluster.controller.topics import CreateTopic
from cluster.raft.entry import Entry, EntryKind
from cluster.raft.entry_log import DIRECTORY
from cluster.raft.quorum_state import NAME
from cluster.raft.stable import open_member
from cluster.raft.voters import Voter
from cluster.settings import ClusterSettings
from cluster.shell.raft_doors import Doors
from cluster.shell.raft_quorum import RaftQuorum
from model.errors import DirectoryRefused
from model.ids import Index, NodeId, Position
from tests.quorum import DIRECTORY_UUID, ME, NODE, REGISTER, open_voter, running


async def opening(disk: SimDisk, me: Voter = ME) -> int:
    """Return the exit code with which an opening is refused."""
    doors = await open_doors(disk)
    with pytest.raises(DirectoryRefused) as refused:
        await RaftQuorum.open(doors, ClusterSettings(), me=me, voters=(me,), defaults={})
    return refused.value.exit_code


async def open_doors(disk: SimDisk) -> Doors:
    made = await open_voter(SimDisk())
    return Doors(
        disk=disk,
        clock=made._doors.clock,
        rand=made._doors.rand,
        run_blocking=made._doors.run_blocking,
    )


async def test_a_vote_that_is_damaged_missing_or_anothers_is_no_vote() -> None:
    disk = SimDisk()
    await open_voter(disk)
    path = f"{DIRECTORY}/{NAME}"
    assert await opening(disk, Voter(NODE, bytes(16))) == 12
    assert await opening(disk, Voter(NodeId(1), DIRECTORY_UUID)) == 12
    disk.flip_bit(path, Position(13), 1)
    assert await opening(disk) == 11
    disk.unlink(path)
    assert await opening(disk) == 11


async def test_a_vote_older_than_the_log_is_no_vote() -> None:
    disk = SimDisk()
    await open_voter(disk)
    file = disk.open(f"{DIRECTORY}/{NAME}")
    older = file.pread(file.size(), Position(0))
    await open_voter(disk)
    disk.open(f"{DIRECTORY}/{NAME}").pwrite([older], Position(0))
    assert await opening(disk) == 11


async def test_a_snapshot_that_is_damaged_or_renamed_is_refused() -> None:
    disk = SimDisk()
    settings = ClusterSettings(quorum_snapshot_entries=2)
    voter = await open_voter(disk, settings=settings)
    async with running(voter):
        await voter.propose(REGISTER)
        await voter.propose(CreateTopic(name="orders", config={}))
    (name,) = (name for name in disk.list(DIRECTORY) if name.endswith(".snapshot"))
    disk.rename(f"{DIRECTORY}/{name}", f"{DIRECTORY}/9{name[1:]}")
    assert await opening(disk) == 11
    disk.rename(f"{DIRECTORY}/9{name[1:]}", f"{DIRECTORY}/{name}")
    disk.flip_bit(f"{DIRECTORY}/{name}", Position(70), 1)
    assert await opening(disk) == 11


@pytest.mark.parametrize(
    ("kind", "payload", "exit_code"),
    [
        (EntryKind.RECORDS, bytes.fromhex("00000006ff01"), 13),
        (EntryKind.RECORDS, bytes.fromhex("000000060701"), 11),
        (EntryKind.VOTERS, bytes(20), 12),
        (EntryKind.VOTERS, bytes(19), 11),
        (4, b"", 13),
    ],
)
async def test_an_entry_that_means_nothing_here_is_not_read_around(
    kind: int, payload: bytes, exit_code: int
) -> None:
    disk = SimDisk()
    voter = await open_voter(disk)
    log = open_member(
        disk, Random(1), me=ME, voters=(ME,), file_bytes_max=ClusterSettings().quorum_file_bytes
    ).log
    log.append([Entry(voter.term, Index(log.last_index + 1), kind, payload)])
    assert await opening(disk) == exit_code

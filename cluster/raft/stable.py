"""What a member of the quorum keeps on disk, opened together and checked against each other.

Format: docs/formats/metadata_log.md. Every call blocks.
"""

from dataclasses import dataclass

from cluster.raft.entry_log import DIRECTORY, Dropped, EntryLog
from cluster.raft.quorum_state import NAME, QuorumState, load
from cluster.raft.snapshot import Snapshot, newest
from cluster.raft.voters import Voter
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import Index, Term
from model.ports import Disk, Rand


@dataclass(frozen=True, slots=True, kw_only=True)
class Stable:
    """Vote, snapshot and log of one member, as its disk holds them."""

    disk: Disk
    state: QuorumState
    snapshot: Snapshot | None
    log: EntryLog
    dropped: tuple[Dropped, ...]
    """What opening the log has cut off."""


def open_member(
    disk: Disk, rand: Rand, *, me: Voter, voters: tuple[Voter, ...], file_bytes_max: int
) -> Stable:
    """Open what is there, as a member of a quorum of any size, be it the only one.

    `voters`: whom a directory without anything believes to be the quorum, until its log says. A
    founder names the founders; who joins names the quorum that it joins, and not itself.

    Raises:
        DirectoryRefused: damaged or incomplete (exit 11), another directory's (exit 12), a newer
            format (exit 13).
        OSError: the disk failed.
    """
    state = _open_state(disk, me=me, voters=voters)
    return _open_log(disk, rand, state=state, file_bytes_max=file_bytes_max)


def _open_state(disk: Disk, *, me: Voter, voters: tuple[Voter, ...]) -> QuorumState:
    disk.make_directory(DIRECTORY)
    state = load(disk, DIRECTORY)
    if state is None:
        # SYNC: nothing inside counts before the directory itself is durable; a process killed
        # here before may have made it and not synced it.
        disk.sync_directory("")
        state = QuorumState(term=Term(0), voted_for=None, directory=me.directory, voters=voters)
        if any(not name.startswith(NAME) for name in disk.list(DIRECTORY)):
            detail = f"{DIRECTORY}/{NAME} is missing beside a log: this node may not vote"
            raise DirectoryRefused(DirectoryExit.FAILED, detail)
    if state.directory != me.directory:
        detail = (
            f"{DIRECTORY}/{NAME} belongs to the directory {state.directory.hex()}, this one is "
            f"{me.directory.hex()}: it was copied, so this node may not vote"
        )
        raise DirectoryRefused(DirectoryExit.FENCED, detail)
    return state


def _open_log(disk: Disk, rand: Rand, *, state: QuorumState, file_bytes_max: int) -> Stable:
    snapshot = newest(disk, DIRECTORY)
    after = (Index(0), Term(0)) if snapshot is None else (snapshot.last_index, snapshot.last_term)
    log, dropped = EntryLog.open(disk, rand, after=after, file_bytes_max=file_bytes_max)
    if log.last_term > state.term:
        detail = (
            f"{DIRECTORY}/{NAME} knows term {state.term}, the log is in term {log.last_term}: "
            "the file is an older one, so this node may not vote"
        )
        raise DirectoryRefused(DirectoryExit.FAILED, detail)
    return Stable(disk=disk, state=state, snapshot=snapshot, log=log, dropped=dropped)

"""Opening a member of the controller quorum: from its files to a core and a machine.

Blocks: it runs in the thread that may wait. A member that is the only voter leads when this
returns, in a new term that is durable: such a node is there at once, and has nobody to wait for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from cluster.controller.image import MetadataImage
from cluster.raft.entry_log import Dropped
from cluster.raft.limits import RaftLimits
from cluster.raft.node import RaftNode
from cluster.raft.stable import Stable, open_member
from cluster.raft.storage import RaftStorage, start_from
from cluster.raft.voters import Configuration, Voter
from cluster.settings import ClusterSettings
from cluster.shell.raft_doors import Doors
from cluster.shell.raft_metadata import RaftMetadata
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ports import Disk, Rand

HEARTBEATS_MIN: Final = 4
"""Wanted in the shortest time after which members elect another leader."""
HEARTBEAT_TICKS_MAX: Final = 2
"""Each heartbeat of a cluster at rest wakes two processes, and its answer the first one again."""

ALONE: Final = "restore the data directory from a copy: nobody else has what it held"
AMONG_OTHERS: Final = (
    "empty the whole data directory and start this node again: it joins anew, without a vote until "
    "it has caught up, and copies everything from the other nodes"
)
"""What a member does that may have forgotten a vote or an entry: it is another one (P15)."""
EITHER: Final = f"if it was a node on its own, {ALONE}; if it was one of several, {AMONG_OTHERS}"
"""Where nothing tells any more whether there are other nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedMember:
    """A member as its disk has it."""

    node: RaftNode
    storage: RaftStorage
    metadata: RaftMetadata
    dropped: tuple[Dropped, ...]
    """What opening the log has cut off."""


def open_as_member(
    doors: Doors,
    settings: ClusterSettings,
    *,
    me: Voter,
    voters: tuple[Voter, ...],
    defaults: Mapping[str, str],
) -> OpenedMember:
    """Open what is there; see `RaftQuorum.open`.

    Raises:
        DirectoryRefused: with the exit code that the node ends with.
        OSError: the disk failed.
    """
    try:
        return _opened(doors, settings, me=me, voters=voters, defaults=defaults)
    except DirectoryRefused as refused:
        if refused.exit_code is not DirectoryExit.FAILED:
            raise
        remedy = ALONE if doors.send is None else AMONG_OTHERS
        raise DirectoryRefused(refused.exit_code, f"{refused.detail}: {remedy}") from refused


def _opened(
    doors: Doors,
    settings: ClusterSettings,
    *,
    me: Voter,
    voters: tuple[Voter, ...],
    defaults: Mapping[str, str],
) -> OpenedMember:
    stable = _stable(doors.disk, doors.rand, settings, me=me, voters=voters)
    node = _core(doors.rand, settings, me=me, stable=stable)
    if doors.send is None and node.configuration != Configuration((me,)):
        names = ", ".join(f"node {voter.node}" for voter in node.configuration.members)
        detail = f"the quorum of this directory is {names}; node {me.node} alone cannot lead it"
        raise DirectoryRefused(DirectoryExit.FENCED, detail)
    return _with_metadata(node, stable, me=me, defaults=defaults)


class ReadMember(NamedTuple):
    """What a start would know of the metadata by itself."""

    image: MetadataImage | None
    """None: other members have to say what holds."""
    dropped: tuple[Dropped, ...]
    """What it would cut off the log."""


def read_member(disk: Disk, rand: Rand, settings: ClusterSettings, *, me: Voter) -> ReadMember:
    """Read all that a start would.

    What a start writes is written: for a disk that keeps nothing of it.

    Raises:
        DirectoryRefused: a start is refused, with the exit code that the node ends with.
        OSError: the disk failed.
    """
    stable = _stable(disk, rand, settings, me=me, voters=(me,))
    try:
        node = _core(rand, settings, me=me, stable=stable)
        opened = _with_metadata(node, stable, me=me, defaults={})
    finally:
        stable.log.close()
    is_alone = node.configuration == Configuration((me,))
    return ReadMember(opened.metadata.image if is_alone else None, stable.dropped)


def _stable(
    disk: Disk, rand: Rand, settings: ClusterSettings, *, me: Voter, voters: tuple[Voter, ...]
) -> Stable:
    return open_member(disk, rand, me=me, voters=voters, file_bytes_max=settings.quorum_file_bytes)


def _with_metadata(
    node: RaftNode, stable: Stable, *, me: Voter, defaults: Mapping[str, str]
) -> OpenedMember:
    """Restore the snapshot; a member that is the only voter leads, in a new term."""
    metadata = RaftMetadata(defaults)
    if stable.snapshot is not None:
        metadata.restore(stable.snapshot.payload, stable.snapshot.last_index)
    opened = OpenedMember(
        node=node,
        storage=RaftStorage(stable, me=me),
        metadata=metadata,
        dropped=stable.dropped,
    )
    if node.leadership is not None:
        _lead_alone(opened)
    return opened


def heartbeat_ticks(election_ticks: int) -> int:
    """Return how often a leader shows itself that has nothing else to send, in ticks."""
    return max(1, min(HEARTBEAT_TICKS_MAX, election_ticks // HEARTBEATS_MIN))


def _core(rand: Rand, settings: ClusterSettings, *, me: Voter, stable: Stable) -> RaftNode:
    limits = RaftLimits(
        election_ticks=settings.quorum_election_ticks,
        heartbeat_ticks=heartbeat_ticks(settings.quorum_election_ticks),
        kept_entries=min(RaftLimits().kept_entries, settings.quorum_snapshot_entries),
    )
    try:
        return RaftNode(start_from(stable, me=me), limits=limits, rand=rand)
    except MalformedError as damage:
        detail = f"an entry of the metadata log cannot be read: {damage}"
        raise DirectoryRefused(DirectoryExit.FAILED, detail) from damage


def _lead_alone(opened: OpenedMember) -> None:
    """Make the term durable that began with the start, and replay the log that it commits.

    Learners hear of it later: a message that is lost is sent again.
    """
    while (ready := opened.node.ready()) is not None:
        if ready.work is not None:
            opened.storage.perform(ready.work)
            opened.node.persisted(ready.work.durable)
        opened.metadata.apply(ready.committed)

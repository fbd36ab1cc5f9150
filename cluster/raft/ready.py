"""What a member wants done, as values: for the disk, for the wire, for the machine."""

from dataclasses import dataclass
from typing import NamedTuple

from cluster.raft.entry import Entry
from cluster.raft.log import SnapshotFile
from cluster.raft.messages import Message
from cluster.raft.voters import Voter
from model.ids import Index, Term


class HardState(NamedTuple):
    """What must be durable before anything that depends on it is said."""

    term: Term
    voted_for: Voter | None
    voters: tuple[Voter, ...]
    """The quorum as it is now: written with the vote, so that a vote names a directory."""


class Durable(NamedTuple):
    """What the disk has when one piece of work is done: `RaftNode.persisted` takes it back."""

    hard_states: int
    """How many hard states of this process."""
    generation: int
    """Of the log in memory: tells an entry from the one that took its place."""
    last_index: Index


class DiskWork(NamedTuple):
    """One job for the disk, in the order of its fields; all of it durable, then `durable` is."""

    hard_state: HardState | None
    snapshot: SnapshotFile | None
    """Came from the leader. Save it, then drop the whole log: it begins anew behind it."""
    cut: Index | None
    """Remove the entries from this one on."""
    entries: tuple[Entry, ...]
    """Append them."""
    durable: Durable


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What has gathered since the last one."""

    work: DiskWork | None
    at_once: tuple[Message, ...]
    """May leave before the work is done: what a leader says whose term is durable."""
    when_durable: tuple[Message, ...]
    """May leave when this work, and all that was handed out before, is durable."""
    restored: SnapshotFile | None
    """The machine begins anew from this one."""
    committed: tuple[Entry, ...]
    """The machine applies these, in order, behind `restored`: durable here and decided."""
    reads: tuple[int, ...]
    """Reads that may be answered once `committed` is applied."""
    more: bool
    """More is decided than one Ready holds: take the next when the loop has had its turn."""
    lost_reads: tuple[int, ...]
    """Reads that nobody will answer: the leader is another one, or silent."""

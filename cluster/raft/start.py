"""What a member of the quorum begins with."""

from dataclasses import dataclass

from cluster.raft.entry import Entry
from cluster.raft.log import SnapshotFile
from cluster.raft.voters import Voter
from model.ids import Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """All that its disk has; `storage.start_from` reads it."""

    me: Voter
    term: Term
    voted_for: Voter | None
    voters: tuple[Voter, ...]
    """The quorum if neither snapshot nor log names one. Who joins names the one that it joins."""
    snapshot: SnapshotFile | None
    entries: tuple[Entry, ...]
    """Those behind the snapshot."""

"""What happens to a replica, and what follows from it; beside the messages of `cluster.peer`."""

from collections.abc import Mapping
from typing import NamedTuple

from cluster.replication.high_watermark import CommitRule
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, NodeId, Offset, RegistrationEpoch


class Assignment(NamedTuple):
    """What the committed metadata say of one partition."""

    leader: NodeId | None
    leader_epoch: LeaderEpoch
    """Of the leader, or of the last one; every election raises it."""
    lossy_epoch: LeaderEpoch
    """The newest epoch that may lack committed records; NO_EPOCH if none ever did."""
    replicas: tuple[NodeId, ...]
    isr: frozenset[NodeId]
    partition_epoch: int
    """Counts the changes of all of this."""
    answer_wanted: bool = False
    """A copy that may be the only one of something is not in sync, or gone: see `AnswerFor`."""


class Appended(NamedTuple):
    """The log in memory ends here now."""

    log_end: Offset


class Persisted(NamedTuple):
    """The writer thread has come this far."""

    written_end: Offset
    flushed_end: Offset
    settled_end: Offset
    """What a log may begin behind: flushed, or in the files, which the checkpoint syncs that makes
    the log start durable."""


class Trimmed(NamedTuple):
    """The leader's log begins here now."""

    log_start: Offset


class IsrDecided(NamedTuple):
    """The controller's word on who is in sync: our proposal, or its own change; never a refusal."""

    members: frozenset[NodeId]
    partition_epoch: int
    """Of the metadata's row; an older one than is known tells nothing."""
    answer_wanted: bool = False


class IsrRefused(NamedTuple):
    """The controller did not take the proposal that was based on this epoch, and never will."""

    based_on: int


class RuleChanged(NamedTuple):
    """The topic's settings ask for another durability from here on."""

    rule: CommitRule


class StreamLost(NamedTuple):
    """The stream to a follower ended, and what was on it is lost."""

    follower: NodeId


class Taken(NamedTuple):
    """The shell has read what `Ready` announced, up to `end`: header, then bytes, go out now.

    `end` is where the sending stands if there was nothing to read, or no room for it.
    """

    to: NodeId
    end: Offset
    closed_time: AppendTimeMs
    """What this node's append clock reads; not below what its directory has reserved."""


class TickEnded(NamedTuple):
    """The loop has handled everything that had arrived: send what has gathered."""


class Judged(NamedTuple):
    """Several times within `replica_lag_ms_max`: who was heard of, and by whom are we believed."""

    heard_at: Mapping[NodeId, MonotonicMs]
    """When the link of each node brought something last, whatever it was."""
    session_held: bool
    """The controller counts this node among the living, as far as this node can tell."""


class Committed(NamedTuple):
    """Effect: release the acks and the readers that wait for offsets below."""

    high_watermark: Offset


class Ready(NamedTuple):
    """Effect: there is something for a follower; put the partition into its stream's row."""

    to: NodeId


class ProposeIsr(NamedTuple):
    """Effect: ask the controller to count the leader and these followers in sync.

    Each goes with the registration epoch under which it caught up. The controller refuses an older
    one: that follower has restarted since, and may have lost what the leader believes it holds. It
    refuses too if the partition has changed since the partition epoch that the leader knew.

    None: a member that has not opened in this leader epoch. It stays as what the row has it, which
    is as it is registered in the metadata: had it restarted and lost something, the row would be
    another one.
    """

    followers: dict[NodeId, RegistrationEpoch | None]
    based_on: int


class AnswerFor(NamedTuple):
    """Effect: tell the controller that this leader's disk holds all that is committed.

    Replicas that restarted after a crash are candidates until then, for one of them may hold alone
    what was acknowledged. The controller takes it if the row is still of this partition epoch.
    """

    partition_epoch: int


class Follow(NamedTuple):
    """The committed metadata name a leader, which is another node, and its epoch."""

    leader: NodeId
    leader_epoch: LeaderEpoch
    lossy_epoch: LeaderEpoch
    """The newest epoch that may lack committed records; NO_EPOCH if none ever did."""


class StreamReady(NamedTuple):
    """A fresh stream to the leader is there, or the old one has not answered for long."""


class CutDurable(NamedTuple):
    """What `Truncate` or `BeginAnew` asked for is in the journal and synced; the log ends here."""

    written_end: Offset
    flushed_end: Offset


class Append(NamedTuple):
    """Effect: append the batches of the frame, as they are, at the log's end."""

    start: Offset
    end: Offset


class Reserve(NamedTuple):
    """Effect: let this node's append clock never read less, durably, before anything is reported.

    Who is counted in sync may lead, and must not stamp below what was told to be closed.
    """

    closed_time: AppendTimeMs


class Trim(NamedTuple):
    """Effect: move the log start forward, as far as the log is written."""

    log_start: Offset


class Truncate(NamedTuple):
    """Effect: let the log end here; journal and sync that, then tell `CutDurable`."""

    offset: Offset


class BeginAnew(NamedTuple):
    """Effect: drop the whole log and begin an empty one here; then tell `CutDurable`."""

    offset: Offset


class Halted(NamedTuple):
    """Effect: this replica stands still, and somebody has to look: say so at the highest level."""

    why: str

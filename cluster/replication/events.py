"""What happens to a replica, and what follows from it; beside the messages of `cluster.peer`."""

from typing import NamedTuple

from cluster.replication.high_watermark import CommitRule
from model.ids import NodeId, Offset, RegistrationEpoch


class Appended(NamedTuple):
    """The log in memory ends here now."""

    log_end: Offset


class Persisted(NamedTuple):
    """The writer thread has come this far."""

    written_end: Offset
    flushed_end: Offset


class IsrDecided(NamedTuple):
    """The controller's word on who is in sync: our proposal, a refusal of it, or its own change."""

    members: frozenset[NodeId]


class RuleChanged(NamedTuple):
    """The topic's settings ask for another durability from here on."""

    rule: CommitRule


class TickEnded(NamedTuple):
    """The loop has handled everything that had arrived: send what has gathered."""


class Committed(NamedTuple):
    """Effect: release the acks and the readers that wait for offsets below."""

    high_watermark: Offset


class ProposeIsr(NamedTuple):
    """Effect: ask the controller to count the leader and these followers in sync.

    Each goes with the registration epoch under which it caught up. The controller refuses an older
    one: that follower has restarted since, and may have lost what the leader believes it holds.
    """

    followers: dict[NodeId, RegistrationEpoch]

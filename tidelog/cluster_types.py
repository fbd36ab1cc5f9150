"""What is told about the cluster's inside: the controller quorum, and what an election lost."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class QuorumMember:
    """A voter or a learner of the controller quorum."""

    node: int
    directory_id: str
    """UUID of its log directory; node and directory together are the identity."""
    voter: bool
    """Else it learns: it is sent the metadata log and does not count."""
    endpoint: str
    """Where other nodes reach it; empty: not known."""
    log_end_offset: int | None
    """The newest entry that the leader knows it to have; None: the leader did not answer."""
    since_last_contact: timedelta | None
    """Since the leader heard it; None: likewise."""
    vote_withheld: bool = False
    """An operator has taken its vote: it gets none by itself. It learns if it runs."""


@dataclass(frozen=True, slots=True)
class QuorumInfo:
    """The controller quorum."""

    leader: int | None
    """None: nobody is known to lead."""
    term: int
    commit_offset: int
    """The newest entry that is committed."""
    members: tuple[QuorumMember, ...]
    """Voters first."""


@dataclass(frozen=True, slots=True)
class UncleanElection:
    """What an election by force has lost, or would lose."""

    leader_epoch: int
    log_end_offset: int
    """Where the new leader's log ends."""
    last_high_watermark: int | None
    """The last that any replica remembers; records from the log end up to it are lost."""

    @property
    def lost(self) -> int | None:
        """How many acknowledged offsets are known to be lost; None: nobody remembers."""
        if self.last_high_watermark is None:
            return None
        return max(0, self.last_high_watermark - self.log_end_offset)

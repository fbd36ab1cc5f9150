"""The outlet of a node that has no other: nobody is there to hear, and nothing is to be said.

A partition whose only replica is here leads as soon as the metadata say so. One that they give to
somebody else waits for a word that does not come.

Invariants:
    NO_REPLICAS_NO_LEADER    nobody but another node can have batches, or a cut, for a replica.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cluster.peer.replica import Progress
from cluster.peer.replica_frames import OfOne
from cluster.replication.events import AnswerFor, ProposeIsr
from logstore.partition_log import PartitionLog
from model.ids import AppendTimeMs, NodeId, Offset, PartitionId, RegistrationEpoch

_NOBODY: Final[Mapping[NodeId, AppendTimeMs]] = MappingProxyType({})
_NO_LEADER: Final = "NO_REPLICAS_NO_LEADER"


class NoReplicas:
    """An `Outlet` that leads nowhere."""

    registration_epoch: Final = RegistrationEpoch(0)

    def say(self, where: PartitionId, to: NodeId, message: OfOne) -> None:
        """Drop it: there is no stream."""

    def ready(self, where: PartitionId, to: NodeId) -> None:
        """Send nothing: whoever opens has a stream."""
        raise AssertionError(_NO_LEADER)

    def touched(self, where: PartitionId) -> None:
        """Announce nothing."""

    def progress(
        self, where: PartitionId, to: NodeId, message: Progress, *, soon: bool = True
    ) -> None:
        """Tell nobody: who follows has a leader's batches."""
        raise AssertionError(_NO_LEADER)

    def reserve(self, where: PartitionId, closed_time: AppendTimeMs) -> None:
        """Promise nothing, likewise."""
        raise AssertionError(_NO_LEADER)

    def took(self, where: PartitionId, leader: NodeId, size_bytes: int) -> None:
        """Take nothing, likewise."""
        raise AssertionError(_NO_LEADER)

    def cut(self, where: PartitionId) -> None:
        """Cut nothing, likewise."""
        raise AssertionError(_NO_LEADER)

    def sync(self, where: PartitionId) -> None:
        """Wait: what was recovered is synced, and what is appended later is written anyway."""

    def begin_anew(self, where: PartitionId, offset: Offset) -> PartitionLog:
        """Begin nothing anew, likewise."""
        raise AssertionError(_NO_LEADER)

    def propose(self, where: PartitionId, proposal: ProposeIsr) -> None:
        """Propose nothing: nobody reports."""

    def answer_for(self, where: PartitionId, answer: AnswerFor) -> None:
        """Answer for nothing: a lone candidate is elected without."""

    def promised(self) -> Mapping[NodeId, AppendTimeMs]:
        """Return nothing: nobody promises."""
        return _NOBODY

    def halted(self, where: PartitionId, why: str) -> None:
        """Halt nothing, likewise."""
        raise AssertionError(_NO_LEADER)

    def forget(self, where: PartitionId) -> None:
        """Hold nothing anyway."""

    def follows(self, where: PartitionId, leader: NodeId | None) -> None:
        """Hear of nobody whose clock would matter."""

    def role_changed(self, where: PartitionId) -> None:
        """Tell nobody."""


NO_REPLICAS: Final = NoReplicas()

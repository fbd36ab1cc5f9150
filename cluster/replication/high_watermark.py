"""How far a partition is committed.

Consumers read strictly below the high watermark, and acks leave when it passes their records. While
a change of the ISR is on its way to the controller, the leader does not know which one counts; so
it asks more of both: every member of either must have written a record (KIP-497, KIP-966), and
flushes count only from members of both.

Invariants:
    ISR_NOT_EMPTY          a leader is always a member of its own ISR.
    ISR_ENDS_KNOWN         the ends of every member are known.
    FLUSHED_IS_WRITTEN     nobody flushed what it has not written, nor wrote what it does not hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from logstore.settings import Flush
from model.ids import NodeId, Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRule:
    """A topic's durability, as its leader applies it."""

    flush: Flush
    min_insync_replicas: int
    replica_lag_ms_max: int
    """A follower that has not caught up for longer leaves the ISR."""


class Ends(NamedTuple):
    """How far one replica has come: in memory, in the page cache, on the disk."""

    log: Offset
    """Next offset; moves when a batch is accepted into the in-memory tail."""
    written: Offset
    """Below this, records survive `kill -9`."""
    flushed: Offset
    """Below this, they survive a power cut."""


class Isr(NamedTuple):
    """The in-sync replicas: what the controller said last, and what it has been asked for."""

    committed: frozenset[NodeId]
    pending: frozenset[NodeId]
    """Equal to `committed` while nothing is asked for."""

    @property
    def maximal(self) -> frozenset[NodeId]:
        """Members of either: each may be elected."""
        return self.committed | self.pending

    @property
    def minimal(self) -> frozenset[NodeId]:
        """Members of both: these cannot leave unnoticed."""
        return self.committed & self.pending


def high_watermark(
    held: Offset, ends: Mapping[NodeId, Ends], *, isr: Isr, rule: CommitRule
) -> Offset:
    """Return the first offset that is not committed; at least `held`, the mark so far."""
    assert isr.minimal, "ISR_NOT_EMPTY"
    assert isr.maximal <= ends.keys(), "ISR_ENDS_KNOWN"
    assert all(end.flushed <= end.written <= end.log for end in ends.values()), "FLUSHED_IS_WRITTEN"
    if len(isr.minimal) < rule.min_insync_replicas:
        return held
    reached = min(ends[node].written for node in isr.maximal)
    if rule.flush is Flush.QUORUM:
        flushed = sorted((ends[node].flushed for node in isr.minimal), reverse=True)
        reached = min(reached, flushed[rule.min_insync_replicas - 1])
    return max(held, reached)

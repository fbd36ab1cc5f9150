"""One partition on its leader, for one leader epoch.

Knows offsets, never bytes: the shell appends batches to the in-memory tail and tells the new end,
a writer thread tells how far the disk has followed, peers tell their progress. What to send, whom
to count in sync and what is committed is decided here.

A leader that is its partition's only replica takes a short way: no follower to ask, nobody to send
to, and the high watermark is one of its own ends. Both ways give the same marks.

Invariants: those of `high_watermark`, and
    LEADER_IS_A_REPLICA    a leader holds a replica and is a member of its ISR.
    LOG_END_NEVER_FALLS    in its own epoch a leader only appends.
    HW_NEVER_FALLS         what a client saw stays visible.
"""

from collections.abc import Collection
from typing import Final, TypeAlias

from cluster.peer.replica import Batches, Progress
from cluster.replication.events import (
    Appended,
    Committed,
    IsrDecided,
    Persisted,
    ProposeIsr,
    RuleChanged,
    TickEnded,
)
from cluster.replication.high_watermark import CommitRule, Ends, Isr, high_watermark
from logstore.settings import Flush
from model.ids import MonotonicMs, NodeId, Offset, RegistrationEpoch

Event: TypeAlias = Appended | Persisted | IsrDecided | Progress | RuleChanged | TickEnded
Effect: TypeAlias = Batches | Committed | ProposeIsr

_EMPTY: Final = Ends(Offset(0), Offset(0), Offset(0))
_NEVER: Final = MonotonicMs(-(1 << 62))


class PartitionLeader:
    """What the leader knows of its replicas, and what follows from it."""

    __slots__ = (
        "_alone",
        "_caught_up_at",
        "_ends",
        "_epoch_start",
        "_flushed",
        "_high_watermark",
        "_isr",
        "_log",
        "_node",
        "_registration_epochs",
        "_rule",
        "_to_catch_up",
        "_written",
    )

    def __init__(
        self,
        node: NodeId,
        *,
        ends: Ends,
        replicas: Collection[NodeId],
        isr: frozenset[NodeId],
        rule: CommitRule,
        now: MonotonicMs,
    ) -> None:
        """Lead on from `ends`. Followers count as empty until they report.

        Where nobody else is in sync, what the disk holds is committed at once: see
        `high_watermark` after construction.
        """
        assert node in replicas, "LEADER_IS_A_REPLICA"
        assert node in isr, "LEADER_IS_A_REPLICA"
        self._node = node
        self._rule = rule
        self._log, self._written, self._flushed = ends
        self._ends = dict.fromkeys(replicas, _EMPTY) | {node: ends}
        self._isr = Isr(isr, isr)
        self._registration_epochs = dict.fromkeys(replicas, RegistrationEpoch(0))
        self._caught_up_at = dict.fromkeys(replicas, _NEVER) | dict.fromkeys(isr, now)
        self._to_catch_up = dict.fromkeys(replicas, ends.log)
        self._epoch_start = ends.log
        self._alone = len(self._ends) == 1
        self._high_watermark = Offset(0)
        self._advance()

    @property
    def high_watermark(self) -> Offset | None:
        """The first offset that is not committed, or None if a former leader may have told more.

        That is so until the mark reaches the start of the epoch (KIP-207).
        """
        return self._high_watermark if self._high_watermark >= self._epoch_start else None

    @property
    def ends(self) -> Ends:
        """How far the leader's own log has come."""
        return Ends(self._log, self._written, self._flushed)

    @property
    def enough_in_sync(self) -> bool:
        """Whether `acks=all` may append: the committed ISR has min.insync.replicas members (P2)."""
        return len(self._isr.committed) >= self._rule.min_insync_replicas

    def step(self, now: MonotonicMs, event: Event) -> list[Effect]:
        """Take one event in; return what to do, in order."""
        if self._alone and type(event) is Persisted:  # once for each partition of each round
            self._written, self._flushed = event
            return self._advance_alone()
        match event:
            case Appended(log_end):
                assert log_end >= self._log, "LOG_END_NEVER_FALLS"
                self._log = log_end
                if self._alone:
                    return []  # no term of the mark is a log end
            case Persisted(written_end, flushed_end):
                self._written, self._flushed = written_end, flushed_end
            case Progress():
                self._follow(now, event)
            case IsrDecided(members):
                assert self._node in members, "LEADER_IS_A_REPLICA"
                self._isr = Isr(members, members)
            case RuleChanged(rule):
                self._rule = rule
            case TickEnded():
                return [] if self._alone else [*self._propose_isr(now), *self._send()]
        return self._advance()

    def _follow(self, now: MonotonicMs, progress: Progress) -> None:
        """Note a follower's ends; one that reaches where our log ended last time keeps up.

        After a restart it is behind until it has caught up anew, however short the while: it may
        have lost what it had not flushed (KIP-966).
        """
        node, registration_epoch, *ends = progress
        if registration_epoch < self._registration_epochs[node]:
            return
        if registration_epoch > self._registration_epochs[node]:
            self._registration_epochs[node] = registration_epoch
            self._caught_up_at[node] = _NEVER
        elif progress.log_end >= self._to_catch_up[node]:
            self._caught_up_at[node] = now
            self._to_catch_up[node] = self._log
        self._ends[node] = Ends(*ends)

    def _advance(self) -> list[Effect]:
        if self._alone:
            return self._advance_alone()
        self._ends[self._node] = self.ends
        mark = high_watermark(self._high_watermark, self._ends, isr=self._isr, rule=self._rule)
        assert mark >= self._high_watermark, "HW_NEVER_FALLS"
        if mark == self._high_watermark:
            return []
        self._high_watermark = mark
        return [Committed(mark)]

    def _advance_alone(self) -> list[Effect]:
        """Do what `_advance` would, for the only member of every view."""
        written, flushed, rule = self._written, self._flushed, self._rule
        assert flushed <= written <= self._log, "FLUSHED_IS_WRITTEN"
        mark = flushed if rule.flush is Flush.QUORUM else written
        if mark <= self._high_watermark or rule.min_insync_replicas > 1:
            return []
        self._high_watermark = mark
        return [Committed(mark)]

    def _propose_isr(self, now: MonotonicMs) -> list[Effect]:
        """Ask for the replicas that keep up; who joins holds what is committed. One at a time."""
        if self._isr.pending != self._isr.committed:
            return []
        since = now - self._rule.replica_lag_ms_max
        keeping_up = {node for node, then in self._caught_up_at.items() if then >= since}
        least = max(self._high_watermark, self._epoch_start)
        holding = {node for node, end in self._ends.items() if end.written >= least}
        members = frozenset(keeping_up & (self._isr.committed | holding) | {self._node})
        if members == self._isr.committed:
            return []
        self._isr = self._isr._replace(pending=members)
        followers = sorted(members - {self._node})
        return [ProposeIsr({node: self._registration_epochs[node] for node in followers})]

    def _send(self) -> list[Effect]:
        return [
            Batches(node, end.log, self._log, self._high_watermark)
            for node, end in self._ends.items()
            if node != self._node
        ]

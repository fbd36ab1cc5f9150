"""What replicas do with time: each beat tells the others the clock, and looks after some of them.

The clock is told so that append time can be closed; each time costs every node two words, and now
and then a sync. While nobody wants to know what is closed, that is done less often, as a sign of
life; who asks has the clock told at once, and with each beat for a while.

Leaders are told who was heard, and judge their followers by it; followers that were refused, or not
answered, ask again.

Invariants:
    REPLICA_TIMER_ONCE    the streams are started once.
"""

from collections.abc import Callable, Collection
from typing import Final

from cluster.replication.events import Judged
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partition_turns import PartitionTurns
from cluster.shell.partitions import Partitions
from cluster.shell.refused_replicas import RefusedReplicas
from cluster.shell.replica_port import ReplicaDoors
from model.ids import MonotonicMs, NodeId, PartitionId

BEAT_MS: Final = MonotonicMs(100)
"""How often each node tells the others what its append clock reads, while somebody asks for closed
time: it lags by so much."""
CALM_BEATS: Final = 5
"""Beats from one sign of life to the next, while nobody asks: closed time lags by so many; fewer
with a `replica_lag_ms_max` that has no room for five of these."""
_SIGNS: Final = 5
"""Signs of life that a node gives within `replica_lag_ms_max`."""
_ASKED_BEATS: Final = 50
"""How long closed time counts as asked for: a reader to whom nothing comes is told it every 4 s."""
_QUIET_MS: Final = 1_000
"""A node that lives says something twice in this time; less than `replica_lag_ms_max`."""
_STOOD_STILL_MS: Final = 300
"""A beat later than this: nobody is judged before what had come meanwhile was read."""


class ReplicaBeats:
    """Of all partitions of a node. Loop only."""

    def __init__(
        self,
        doors: ReplicaDoors,
        partitions: Partitions,
        *,
        linked: Collection[NodeId],
        tell: Callable[[], None],
    ) -> None:
        """Stand still until `start`; `tell` tells all who are `linked` what the clock reads."""
        self._doors = doors
        self._partitions = partitions
        self._linked = linked
        self._tell = tell
        self._turns = PartitionTurns(partitions)
        self._refused = RefusedReplicas()
        self._full: set[PartitionId] = set()
        """To be opened again when the disk may have room."""
        signs_ms = partitions.replica_lag_ms_max // _SIGNS
        self._calm_beats = max(1, min(CALM_BEATS, signs_ms // BEAT_MS))
        self._silent = self._asked = 0
        """Beats since the clock was told, and so many more that tell it."""
        self._beats = 0
        """From the last one to the next, and those between that bring nothing; 0: it stands."""
        self._next_beat = MonotonicMs(0)
        self._stop: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to beat."""
        assert self._stop is None, "REPLICA_TIMER_ONCE"
        self._beat_later()

    def stop(self) -> None:
        """Beat no more."""
        self._beats = 0
        self._stop_timer()

    def asked(self) -> None:
        """Somebody wants to know what is closed: tell the clock often from here on."""
        is_news, self._asked = not self._asked, _ASKED_BEATS
        if is_news:
            self._silent = 0
            self._tell()
            self._sleep_no_more()

    def refused(self, partition: HostedPartition) -> None:
        """Its leader sends it nothing: let it ask again, after a pause."""
        now = self._doors.clock.monotonic_ms()
        self._refused.refused(partition.id, partition.leader_epoch, now)
        self._sleep_no_more()

    def wake(self, where: PartitionId) -> None:
        """Something happens to a partition: look after it until it is at rest again."""
        self._turns.wake(where)
        self._sleep_no_more()

    def wake_all(self) -> None:
        """The same, of all."""
        self._turns.wake_all()

    def full(self, where: PartitionId) -> None:
        """The disk had no room for what its leader sent: let it ask again, in a while."""
        self._full.add(where)
        self._turns.wake(where)

    def not_refused(self, where: PartitionId) -> None:
        """Its leader sends it something, or is to be asked on another stream."""
        self._refused.forget(where)

    def forget(self, where: PartitionId) -> None:
        """The partition is gone."""
        self._refused.forget(where)
        self._full.discard(where)
        self._turns.rest(where)

    def _beat_later(self) -> None:
        """Wake up with the next beat that has something to do."""
        self._beats = 1
        if not self._asked and not self._refused.any_waits:
            self._beats = min(self._turns.beats_left, self._calm_beats - self._silent)
        now = self._doors.clock.monotonic_ms()
        self._set_timer(MonotonicMs(now + self._beats * BEAT_MS))

    def _sleep_no_more(self) -> None:
        """Something is to be done with the next beat."""
        if self._beats <= 1:
            return
        left_ms = self._next_beat - self._doors.clock.monotonic_ms()
        ahead = max(0, left_ms - 1) // BEAT_MS
        if ahead:
            self._stop_timer()
            self._beats -= ahead
            self._set_timer(MonotonicMs(self._next_beat - ahead * BEAT_MS))

    def _stop_timer(self) -> None:
        if self._stop is not None:
            self._stop()

    def _set_timer(self, at: MonotonicMs) -> None:
        self._next_beat = at
        self._stop = self._doors.clock.call_at(at, self._beat)

    def _beat(self) -> None:
        now = self._doors.clock.monotonic_ms()
        late_ms = now - self._next_beat
        self._turns.beat(self._beats)
        self._silent += self._beats
        self._beats = 1  # whoever has something to do from here on is asked for the next one
        if self._asked or self._silent >= self._calm_beats:
            self._silent = 0
            self._tell()
        self._asked = max(self._asked - 1, 0)
        for where, epoch in self._refused.due(now).items():
            partition = self._partitions.by_id(where)
            if partition is not None and partition.leader_epoch == epoch:
                partition.replica.open_again(even_following=True)
        if late_ms <= _STOOD_STILL_MS:
            self._look_after(now)
        self._beat_later()

    def _look_after(self, now: MonotonicMs) -> None:
        """Look at those partitions whose turn it is."""
        session_held = self._doors.controller.session_held()
        if not self._turns.is_due(session_held=session_held):
            return
        judged = Judged(self._doors.links.heard_at(), session_held)
        if any(judged.heard_at.get(one, 0) < now - _QUIET_MS for one in self._linked):
            self._turns.wake_all()  # whoever is not heard is judged, however little there is to do
        for partition in self._turns.next(session_held=judged.session_held):
            where = partition.log.id
            if partition.leads:
                self._full.discard(where)  # there is no leader to ask
                partition.replica.told(now, judged)
                partition.tick_ended(now)  # retention may have moved its log start
            elif self._turns.opens and not self._refused.waits(where, partition.leader_epoch):
                partition.replica.open_again(even_following=where in self._full)
                self._full.discard(where)
            if partition.replica.at_rest and where not in self._full:
                self._turns.rest(where)

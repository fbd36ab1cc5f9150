"""Followers that their leaders have refused: when each asks again.

Mostly a refusal is over with the next beat: the leader had not heard of its partition yet, or could
not read at the first try what comes next. What it has lost for good it refuses each time, and is
not to be asked ten times a second for ever: one refusal behind another doubles the pause.
"""

from typing import Final, NamedTuple

from model.ids import LeaderEpoch, MonotonicMs, PartitionId

SECOND_PAUSE_MS: Final = 100
"""After the first refusal there is none: the first records of a new topic wait for one beat."""
LONGEST_PAUSE_MS: Final = 3_200
"""A leader that is mended meanwhile is asked within it."""


class _Refusal(NamedTuple):
    epoch: LeaderEpoch
    pause_ms: int
    ask_at: MonotonicMs | None
    """None: the pause is over, and the follower has asked; what comes of it is not known yet."""


class RefusedReplicas:
    """Of one node. A passive object; whoever calls it reads the clock."""

    __slots__ = ("_refusals",)

    def __init__(self) -> None:
        """Begin with nobody refused."""
        self._refusals: dict[PartitionId, _Refusal] = {}

    def refused(self, where: PartitionId, epoch: LeaderEpoch, now: MonotonicMs) -> None:
        """Note a refusal of who follows in this leader epoch; one in a pause changes nothing."""
        before = self._refusals.get(where)
        pause_ms = 0
        if before is not None and before.epoch == epoch:
            if before.ask_at is not None:
                return
            pause_ms = min(max(2 * before.pause_ms, SECOND_PAUSE_MS), LONGEST_PAUSE_MS)
        self._refusals[where] = _Refusal(epoch, pause_ms, MonotonicMs(now + pause_ms))

    def waits(self, where: PartitionId, epoch: LeaderEpoch) -> bool:
        """Tell whether a follower is not to ask yet, in this leader epoch."""
        refusal = self._refusals.get(where)
        return refusal is not None and refusal.epoch == epoch and refusal.ask_at is not None

    @property
    def any_waits(self) -> bool:
        """Whether somebody is to ask later."""
        return any(refusal.ask_at is not None for refusal in self._refusals.values())

    def due(self, now: MonotonicMs) -> dict[PartitionId, LeaderEpoch]:
        """Return who is to ask now, each with the leader epoch in which it was refused. Once."""
        due = {
            where: refusal
            for where, refusal in self._refusals.items()
            if refusal.ask_at is not None and refusal.ask_at <= now
        }
        for where, refusal in due.items():
            self._refusals[where] = refusal._replace(ask_at=None)
        return {where: refusal.epoch for where, refusal in due.items()}

    def forget(self, where: PartitionId) -> None:
        """Begin anew: the follower was sent something, it has a fresh stream, or it is gone."""
        self._refusals.pop(where, None)

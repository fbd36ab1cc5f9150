"""Whose date is far from that of the controllers' majority: such a node is not to lead (P39).

Every heartbeat says what date its node has, and what its append clock reads, which a start with a
wrong date may have put ahead for long. Both are held against the monotonic clock of whoever takes
them; so a jump of that one's own date moves nobody else's. What counts is a majority of voters
whose clocks are close to each other. Where there is none, nobody can say who is right, and nobody
is judged. The way of a heartbeat takes milliseconds, which is nothing here.
"""

from collections.abc import Collection, Mapping
from typing import Final

from model.ids import AppendTimeMs, MonotonicMs, NodeId, WallMs

DOUBT_MS: Final = 60_000
"""From the majority's date to one that is in doubt."""
TRUST_MS: Final = 30_000
"""And back: less than that, or one at the edge would come and go."""


class Clocks:
    """What the active controller knows of dates."""

    def __init__(self) -> None:
        """Know none."""
        self._offsets: dict[NodeId, int] = {}
        """Date less the monotonic time at which it was told, ms."""
        self._append_offsets: dict[NodeId, int] = {}
        """The same of the append clock."""
        self._doubted: set[NodeId] = set()

    def forget(self) -> None:
        """Begin anew."""
        self._offsets.clear()
        self._append_offsets.clear()
        self._doubted.clear()

    def told(
        self, node: NodeId, wall: WallMs, append_time: AppendTimeMs, *, now: MonotonicMs
    ) -> None:
        """Note a node's date, and what its append clock reads."""
        self._offsets[node] = wall - now
        self._append_offsets[node] = append_time - now

    def ended(self, node: NodeId) -> None:
        """Forget a node that is gone."""
        self._offsets.pop(node, None)
        self._append_offsets.pop(node, None)
        self._doubted.discard(node)

    def off_ms(self, node: NodeId, voters: Collection[NodeId]) -> int | None:
        """Return how far a node is ahead of the majority's date; None: it cannot be said.

        By its date, or by its append clock if that is further ahead. One that is behind does no
        harm: it never reads less than what leaders have told.
        """
        date_ms = _ahead(self._offsets, node, voters)
        append_ms = _ahead(self._append_offsets, node, voters)
        if date_ms is None:
            return None
        if append_ms is None:  # its date alone clears nobody
            return date_ms if abs(date_ms) > TRUST_MS else None
        return append_ms if append_ms > abs(date_ms) else date_ms

    def in_doubt(self, node: NodeId, voters: Collection[NodeId]) -> bool:
        """Tell whether a node is not to lead; what was said last holds while nothing can be said.

        `voters`: of the controller quorum, as it is now.
        """
        off_ms = self.off_ms(node, voters)
        if off_ms is not None:
            most = TRUST_MS if node in self._doubted else DOUBT_MS
            if abs(off_ms) > most:
                self._doubted.add(node)
            else:
                self._doubted.discard(node)
        return node in self._doubted


def _ahead(offsets: Mapping[NodeId, int], node: NodeId, voters: Collection[NodeId]) -> int | None:
    """Return how far a node's clock is ahead of the middle of the closest majority of voters.

    None: its clock is not known, or no majority's clocks are close to each other.
    """
    known = sorted(offsets[voter] for voter in voters if voter in offsets)
    needed = len(voters) // 2 + 1
    groups = [known[at : at + needed] for at in range(len(known) - needed + 1)]
    close = [group for group in groups if group[-1] - group[0] <= DOUBT_MS]
    if not close or node not in offsets:
        return None
    closest = min(close, key=lambda group: group[-1] - group[0])
    return offsets[node] - closest[needed // 2]

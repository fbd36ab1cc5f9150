"""Giving leaderships back to nodes that have returned, while this node is the active controller.

Who restarts leads nothing afterwards. Each partition has a preferred leader, which placement chose
so that brokers carry alike: a node that is running again gets back what is its own, partition by
partition as it is in sync there. Every such move is a short pause for somebody, so it waits until
no node has come or gone for `CALM_MS`, and then moves `MOVED_MAX` at most in each round.

What a person moves stays where it is until the preferred leader returns the next time, or another
node becomes the active controller: that one knows nothing of the past, and looks after everybody.
"""

from asyncio import gather
from collections.abc import Callable
from typing import Final

from cluster.controller.image import BrokerImage, MetadataDelta, MetadataImage, Standing
from cluster.controller.leadership import MOVED_MAX, TransferLeader
from cluster.shell.controller_doors import ControllerDoors
from model.errors import RequestError
from model.ids import MonotonicMs, NodeId

CALM_MS: Final = 2_000
"""Without a node that comes or goes."""
ROUND_MS: Final = 1_000
"""Between two rounds of moves, and between two looks for something to move."""


class Balance:
    """See the module. Loop only."""

    def __init__(self, doors: ControllerDoors) -> None:
        """Owe nobody anything until `begin`."""
        self._doors = doors
        self._owed: set[NodeId] = set()
        """Nodes that are running again, and do not lead all that is their own."""
        self._not_before = MonotonicMs(0)
        self._cancel: Callable[[], None] | None = None
        self._moving = False

    def begin(self) -> None:
        """This node has become the active controller."""
        image = self._doors.quorum.image
        self._owed = {one.node for one in image.brokers.values() if _is_owed(image, one)}
        self._wait()

    def end(self) -> None:
        """It is not any more."""
        self._owed.clear()
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def published(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Take what has changed; of the active controller alone."""
        for broker in delta.brokers:
            if _is_owed(image, broker):
                self._owed.add(broker.node)
            else:
                self._owed.discard(broker.node)
        self._owed.difference_update(delta.brokers_removed)
        if delta.brokers or delta.brokers_removed:
            self._wait()
        elif self._owed and self._cancel is None and not self._moving:
            self._look_at(max(self._not_before, self._now()))

    def _wait(self) -> None:
        """Begin to wait for calm."""
        self._not_before = MonotonicMs(self._now() + CALM_MS)
        if self._owed and not self._moving:
            self._look_at(self._not_before)

    def _look_at(self, when: MonotonicMs) -> None:
        if self._cancel is not None:
            self._cancel()
        self._cancel = self._doors.clock.call_at(when, self._look)

    def _look(self) -> None:
        self._cancel = None
        if self._now() < self._not_before:
            self._look_at(self._not_before)
            return
        image = self._doors.quorum.image
        self._owed = {node for node in self._owed if _lacks(image, node)}
        moves = [move for node in sorted(self._owed) for move in _moves(image, node)][:MOVED_MAX]
        if moves:
            self._moving = True
            self._doors.spawn.start(self._move(moves), "leaders balanced")
        else:  # what is to be moved has yet to be in sync: changes are waited for, and gathered
            self._not_before = MonotonicMs(self._now() + ROUND_MS)

    async def _move(self, moves: list[TransferLeader]) -> None:
        try:
            moved = sum(await gather(*map(self._moved, moves)))
            if moved:
                self._doors.note("leaders_balanced", partitions=moved)
        finally:
            self._moving = False
        if self._owed:
            self._not_before = MonotonicMs(max(self._not_before, self._now() + ROUND_MS))
            self._look_at(self._not_before)

    async def _moved(self, move: TransferLeader) -> bool:
        try:
            await self._doors.quorum.propose(move)
        except RequestError:
            return False  # it has left the ISR meanwhile, or another node decides: a later look
        return True

    def _now(self) -> MonotonicMs:
        return self._doors.clock.monotonic_ms()


def _is_owed(image: MetadataImage, broker: BrokerImage) -> bool:
    return broker.standing is Standing.RUNNING and _lacks(image, broker.node)


def _lacks(image: MetadataImage, node: NodeId) -> bool:
    """Tell whether a node does not lead all that is its own."""
    return any(
        row.replicas[0] == node != row.leader
        for topic in image.topics.values()
        for row in topic.partitions
    )


def _moves(image: MetadataImage, node: NodeId) -> list[TransferLeader]:
    """Return what can be given back to a node now."""
    return [
        TransferLeader(topic=topic.name, number=row.number, to=node)
        for topic in image.topics.values()
        for row in topic.partitions
        if row.replicas[0] == node and row.leader not in {None, node} and node in row.isr
    ]

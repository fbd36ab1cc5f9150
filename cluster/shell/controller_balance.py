"""Giving leaderships back to nodes that have returned, while this node is the active controller.

Who restarts leads nothing afterwards. Each partition has a preferred leader, which placement chose
so that brokers carry alike: a node that is running again gets back what is its own, partition by
partition as it is in sync there. Every such move is a short pause for somebody, so it waits until
no node has come or gone for `CALM_MS`, and then moves `MOVED_MAX` at most in each round.

Each leadership is given back once. What a person moves then, or what a node gives away because what
it has there is damaged, stays where it is until the preferred leader returns the next time, or
another node becomes the active controller: that one knows nothing of the past, and looks after
everybody.
"""

from asyncio import gather
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from cluster.controller.image import BrokerImage, MetadataDelta, MetadataImage, Standing
from cluster.controller.leadership import MOVED_MAX, TransferLeader
from cluster.shell.controller_doors import ControllerDoors
from model.errors import RequestError
from model.ids import MonotonicMs, NodeId, TopicId

CALM_MS: Final = 2_000
"""Without a node that comes or goes."""
ROUND_MS: Final = 1_000
"""Between two rounds of moves, and between two looks for something to move."""

Place: TypeAlias = tuple[TopicId, int]
"""A partition: its topic, and its number there."""


class Balance:
    """See the module. Loop only."""

    def __init__(self, doors: ControllerDoors) -> None:
        """Owe nobody anything until `begin`."""
        self._doors = doors
        self._owed: dict[Place, NodeId] = {}
        """What nodes that are running again have not led since then, by their preferred leader."""
        self._not_before = MonotonicMs(0)
        self._cancel: Callable[[], None] | None = None
        self._moving = False

    def begin(self) -> None:
        """This node has become the active controller."""
        image = self._doors.quorum.image
        running = [one.node for one in image.brokers.values() if _is_running(one)]
        self._owed = _lacked(image, frozenset(running))
        self._wait()

    def end(self) -> None:
        """It is not any more."""
        self._owed.clear()
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def published(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Take what has changed; of the active controller alone."""
        changed = {one.node for one in delta.brokers}.union(delta.brokers_removed)
        if changed:
            self._owed = {at: node for at, node in self._owed.items() if node not in changed}
            running = [one.node for one in delta.brokers if _is_running(one)]
            self._owed |= _lacked(image, frozenset(running))
        for topic in delta.changed if self._owed else ():
            for row in topic.partitions:
                if row.leader == row.replicas[0]:
                    self._owed.pop((topic.topic_id, row.number), None)
        if changed:
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
        moves = self._moves(self._doors.quorum.image)
        if moves:
            self._moving = True
            self._doors.spawn.start(self._move(moves), "leaders balanced")
        else:  # what is to be moved has yet to be in sync: changes are waited for, and gathered
            self._not_before = MonotonicMs(self._now() + ROUND_MS)

    def _moves(self, image: MetadataImage) -> dict[Place, TransferLeader]:
        """Return what can be given back now; forget what is not there any more."""
        topics = image.topics_by_id
        self._owed = {at: node for at, node in self._owed.items() if at[0] in topics}
        moves: dict[Place, TransferLeader] = {}
        for at, node in self._owed.items():
            topic, number = topics[at[0]], at[1]
            row = topic.partitions[number]
            if row.leader is not None and node in row.isr and len(moves) < MOVED_MAX:
                moves[at] = TransferLeader(topic=topic.name, number=number, to=node)
        return moves

    async def _move(self, moves: Mapping[Place, TransferLeader]) -> None:
        try:
            moved = sum(await gather(*[self._moved(at, move) for at, move in moves.items()]))
            if moved:
                self._doors.note("leaders_balanced", partitions=moved)
        finally:
            self._moving = False
        if self._owed:
            self._not_before = MonotonicMs(max(self._not_before, self._now() + ROUND_MS))
            self._look_at(self._not_before)

    async def _moved(self, at: Place, move: TransferLeader) -> bool:
        try:
            await self._doors.quorum.propose(move)
        except RequestError:
            return False  # it has left the ISR meanwhile, or another node decides: a later look
        self._owed.pop(at, None)
        return True

    def _now(self) -> MonotonicMs:
        return self._doors.clock.monotonic_ms()


def _is_running(broker: BrokerImage) -> bool:
    return broker.standing is Standing.RUNNING


def _lacked(image: MetadataImage, nodes: frozenset[NodeId]) -> dict[Place, NodeId]:
    """Return what is the own of these nodes, and led by others or by nobody."""
    return {
        (topic.topic_id, row.number): row.replicas[0]
        for topic in (image.topics.values() if nodes else ())
        for row in topic.partitions
        if row.replicas[0] in nodes and row.leader != row.replicas[0]
    }

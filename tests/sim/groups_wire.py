"""The stream between one client of a group and the node.

Both ways take time: what was said arrives later, in its order, or never, when the stream is cut
before. The node's part is what its door does, without the bytes.
"""

import asyncio
from collections import deque
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeAlias

from api.broker.broker import Broker
from api.broker.consume_events import (
    Action,
    Assigned,
    Committed,
    CommitTo,
    Event,
    Joined,
    Named,
    Opening,
)
from api.broker.consume_session import ConsumeSession
from model.errors import RequestError
from model.ids import PartitionId
from model.principal import ANONYMOUS
from tests.sim.groups_books import Books
from tests.sim.node_life import Life


@dataclass(frozen=True)
class Ended:
    """The last that a client hears of a stream. No reason: it was cut, or the member has left."""

    why: RequestError | None = None


@dataclass
class Held:
    """A partition as its member knows it."""

    partition: PartitionId
    since_epoch: int
    arrived: int
    done: int
    """What comes before was worked on."""


class Given(dict[Named, Held]):
    """An `Assigned`, with the epoch of each hold, which no client is told."""


Heard: TypeAlias = Event | Ended | Given


class Around(Protocol):
    """What a client knows of the world."""

    choose: Random
    books: Books
    processed: dict[tuple[str, PartitionId], set[int]]
    """Offsets that somebody in a group has worked on."""

    @property
    def life(self) -> Life:
        """The node as it runs now."""
        ...

    def durable(self) -> dict[int, int]:
        """Return how far each coordinator's log is on disk, as the log itself says."""
        ...

    def judging(self) -> AbstractContextManager[None]:
        """Keep a breach that is found in the middle of the node."""
        ...


class Wire:
    """One stream. `inbox` is on its way to the client, `outbox` to the node."""

    def __init__(self, world: Around, opening: Opening) -> None:
        self.life = world.life
        self.inbox: deque[Heard] = deque()
        self.outbox: deque[Action] = deque()
        self.session: ConsumeSession | None = None
        self._world = world
        self._opening = opening
        self._acting: set[asyncio.Task[None]] = set()
        serving = self._serve(self.life.node.broker)
        self._serving = asyncio.get_running_loop().create_task(serving)

    @property
    def open(self) -> bool:
        return not self._serving.done()

    async def hear(self) -> None:
        """Let the oldest thing that the client said arrive."""
        session = self.session
        if session is None or not self.outbox or not self.open:
            return
        action = self.outbox.popleft()
        session.heard()
        if isinstance(action, CommitTo):
            await session.room()
        task = asyncio.get_running_loop().create_task(session.act(action))
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    async def cut(self, choose: Random) -> None:
        """Break it; of what is on its way to the client a first part arrives."""
        for task in (self._serving, *self._acting):
            task.cancel()
        await asyncio.gather(self._serving, *self._acting, return_exceptions=True)
        self.outbox.clear()
        left = choose.randrange(len(self.inbox) + 1)
        while len(self.inbox) > left:
            self.inbox.pop()
        self.inbox.append(Ended())

    async def _serve(self, broker: Broker) -> None:
        try:
            self.session = await broker.consume(ANONYMOUS, self._opening)
        except RequestError as refusal:
            self.inbox.append(Ended(refusal))
            return
        why = None
        try:
            async with aclosing(self.session.events()) as events:
                async for event in events:
                    with self._world.judging():
                        self._tell(self.session, event)
        except RequestError as refusal:
            why = refusal
        finally:
            if not self.life.over:
                self.session.close()
            for task in self._acting:
                task.cancel()
        self.inbox.append(Ended(why))

    def _tell(self, session: ConsumeSession, event: Event) -> None:
        """Hold what is told against what is durable; then let it go."""
        books, durable, group = self._world.books, self._world.durable(), session.group
        if isinstance(event, Joined):
            books.told(durable, "stream", session.stream)
            books.told(durable, "epoch", group, event.member_epoch)
        elif isinstance(event, Assigned):
            self.inbox.append(self._given(session, event))
            return
        elif isinstance(event, Committed):
            for cursor, refused in zip(event.cursors, event.results, strict=True):
                if refused is None:
                    books.told(durable, "commit", cursor.metadata)
                    books.counts["commits acknowledged"] += 1
        self.inbox.append(event)

    def _given(self, session: ConsumeSession, assigned: Assigned) -> "Given":
        """Hold the places where a member begins against where its group stands."""
        books, rejoin = self._world.books, self._opening.rejoin
        owned = {held.owned.partition: held.owned for held in session._places.every()}
        given = Given()
        for place in assigned.places:
            partition = place.partition.id
            since = owned[partition].since_epoch
            books.told(self._world.durable(), "hold", session.member_id, partition)
            stand = None if rejoin is None else rejoin.stands.get(partition)
            if rejoin is not None and stand is not None and since <= rejoin.member_epoch:
                assert place.start == stand.offset, "RESUMED_WHERE_IT_WAS"
            elif books.hold(session.group, partition) == (session.member_id, since):
                committed = books.committed(session.group, partition)
                assert place.start == (committed or 0), "BEGINS_WHERE_ITS_GROUP_STANDS"
            name = place.partition.topic.name, place.partition.number
            given[name] = Held(partition, since, int(place.start), int(place.start))
        return given

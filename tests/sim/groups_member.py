"""One client of a group: a program that consumes, and the stream between it and the node.

Both ways of a stream take time: what was said arrives later, in its order, or never, when the
stream is cut before. The node's part is what its door does, without the wire.
"""

import asyncio
from collections import deque
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, Protocol, TypeAlias

from api.broker.broker import Broker
from api.broker.consume_events import (
    ALIVE,
    Action,
    Assigned,
    Committed,
    CommitTo,
    Event,
    Grant,
    HandOver,
    Joined,
    LeaveGroup,
    Named,
    Opening,
    Rejoin,
    Revoke,
    Stand,
)
from api.broker.consume_session import ConsumeSession
from api.broker.group_commits import NamedCursor
from api.broker.place import Earliest, Latest
from api.broker.read_on import Diverged, Gap, Step
from consumer_groups.records import GroupEpoch, MemberId
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Offset, PartitionId, TopicName
from model.principal import ANONYMOUS
from tests.sim.groups_books import Asked, Books
from tests.sim.node_life import Life

CREDIT: Final = 20
"""Records that a client takes ahead of what it has worked on."""
OVER: Final = frozenset(
    {ErrorCode.UNKNOWN_MEMBER, ErrorCode.STALE_MEMBER_EPOCH, ErrorCode.FENCED_INSTANCE}
)
"""Whoever hears one of these is no member any more, or not over this stream."""


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
            partition = place.partition.log.id
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


@dataclass
class Client:
    """One program. It may be silent, slow, cut off; it never lies, and never commits less."""

    world: Around
    name: str
    group: GroupId
    topics: tuple[TopicName, ...]
    instance_id: str | None = None
    latest: bool = False
    silent: bool = False
    wire: Wire | None = None
    membership: tuple[MemberId, GroupEpoch] | None = None
    held: dict[Named, Held] = field(default_factory=dict)
    to_give: list[tuple[Named, Held | None]] = field(default_factory=list)
    """What it was asked for, and has not answered; None: it had not heard that it has it."""
    stream: int | None = None
    leaving: bool = False

    # What it says.

    def connect(self) -> None:
        """Join, or resume; the first thing on a new stream."""
        if self.wire is not None:
            return
        choose = self.world.choose
        rejoin = None
        if self.membership is not None:
            stands = {one.partition: Stand(Offset(one.done)) for one in self.held.values()}
            rejoin = Rejoin(*self.membership, stands)
        self.held, self.to_give = {}, []
        opening = Opening(
            group=self.group,
            topics=self.topics,
            rejoin=rejoin,
            instance_id=self.instance_id,
            session_timeout_ms=choose.choice((1_000, 4_000)),
            rebalance_timeout_ms=choose.choice((1_000, 3_000)),
            resume_timeout_ms=choose.choice((0, 500, 3_000)),
            start=Latest() if self.latest else Earliest(),
            records=CREDIT,
            size_bytes=1 << 20,
        )
        self.stream, self.leaving = None, False
        self.wire = Wire(self.world, opening)

    def say(self, action: Action) -> None:
        if self.wire is not None:
            self.wire.outbox.append(action)

    def beat(self) -> None:
        self.say(ALIVE)

    def work(self) -> None:
        """Work on what has arrived in one partition, or on a part of it."""
        ready = [one for one in self.held.values() if one.done < one.arrived]
        if ready:
            held = self.world.choose.choice(ready)
            self._finish(held, self.world.choose.randint(held.done + 1, held.arrived))

    def work_all(self) -> None:
        for held in self.held.values():
            self._finish(held, held.arrived)

    def _finish(self, held: Held, upto: int) -> None:
        done = self.world.processed.setdefault((self.group, held.partition), set())
        done.update(range(held.done, upto))
        self._grant(upto - held.done)
        held.done = upto

    def _grant(self, records: int) -> None:
        self.say(Grant(records, 1 << 16))

    def commit(self) -> None:
        """Commit what was worked on, everywhere or in some partitions."""
        names = [name for name in self.held if self.world.choose.randrange(3)]
        self._commit({name: self.held[name] for name in names})

    def commit_all(self) -> None:
        """Commit wherever the group does not stand where this member does."""
        committed = self.world.books.committed
        self._commit(
            {
                name: held
                for name, held in self.held.items()
                if held.done != committed(self.group, held.partition)
            }
        )

    def _commit(self, places: dict[Named, Held]) -> None:
        if not places or self.wire is None or self.membership is None:
            return
        books = self.world.books
        cursors = []
        for (topic, number), held in places.items():
            metadata = f"c{len(books.asked)}"
            books.asked[metadata] = Asked(
                self.group,
                held.partition,
                held.done,
                self.membership[0],
                self.stream,
                held.since_epoch,
            )
            cursors.append(NamedCursor(topic, number, Offset(held.done), metadata=metadata))
        self.say(CommitTo(len(books.asked), cursors))

    def give(self) -> None:
        """Hand over what it was asked for, each after a last commit of it."""
        for name, held in self.to_give:
            if held is not None:
                self._commit({name: held})
            self.say(HandOver([name]))
        self.to_give = []

    def leave(self) -> None:
        self.leaving = True
        self.say(LeaveGroup())

    def fall_silent(self) -> None:
        self.silent = True

    def wake(self) -> None:
        self.silent = False

    async def be_good(self) -> None:
        """Do all that a member owes; what it says arrives."""
        self.wake()
        while self.wire is not None and self.wire.inbox:
            self.listen()
        self.connect()
        self.work_all()
        self.commit_all()
        self.give()
        self.beat()
        while self.wire is not None and self.wire.outbox and self.wire.session is not None:
            await self.arrive()

    async def arrive(self) -> None:
        """Let what it has said reach the node, one thing."""
        if self.wire is not None:
            await self.wire.hear()

    async def cut(self) -> None:
        if self.wire is not None and self.wire.open:
            await self.wire.cut(self.world.choose)

    # What it hears.

    def listen(self) -> None:
        """Hear the next thing."""
        if self.wire is None or not self.wire.inbox:
            return
        heard = self.wire.inbox.popleft()
        match heard:
            case Ended(why):
                self._ended(why)
            case Joined(member_id, epoch, _):
                self.membership = member_id, epoch
                assert self.wire.session is not None
                self.stream = self.wire.session.stream
            case Given():
                self.held |= heard
            case Revoke(partitions, _):
                for one in partitions:
                    self._asked_back((one.topic.name, one.number))
            case list():
                for step in heard:
                    self._arrived(step)
            case _:  # how far the node is: nothing follows from it here
                assert not isinstance(heard, Gap | Diverged), "DELIVERED_WITHOUT_A_GAP"

    def _ended(self, why: RequestError | None) -> None:
        self.wire = None
        if why is not None:
            self.world.books.counts[f"ended {why.code.name}"] += 1
        if self.leaving or (why is not None and why.code in OVER):
            self.membership, self.held, self.to_give = None, {}, []

    def _asked_back(self, name: Named) -> None:
        given = self.held.pop(name, None)
        self.to_give.append((name, given))
        if given is not None:  # what it does not work on, it has room for again
            self._grant(given.arrived - given.done)

    def _arrived(self, step: Step) -> None:
        held = self.held.get((step.partition.topic.name, step.partition.number))
        if held is None or held.partition != step.partition.log.id:
            self._grant(int(step.next_offset - step.start_offset))
            return
        assert step.start_offset == held.arrived, "DELIVERED_WITHOUT_A_GAP"
        held.arrived = int(step.next_offset)

    def died(self) -> "Client":
        """Return the program that is started in its place, which knows nothing."""
        return replace(
            self, wire=None, membership=None, held={}, to_give=[], stream=None, silent=False
        )

"""One client of a group: a program that consumes, over one stream after the other."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final

from api.broker.consume_events import (
    ALIVE,
    Action,
    CommitTo,
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
from api.broker.group_commits import NamedCursor
from api.broker.place import Earliest, Latest
from api.broker.read_on import Diverged, Gap, Step
from consumer_groups.records import GroupEpoch, MemberId
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Offset, TopicName
from tests.sim.groups_books import Asked
from tests.sim.groups_wire import Around, Ended, Given, Held, Wire

DECIDED_TURNS: Final = 4
"""Of the loop: a join or resume is decided by then. It is committed with the disk's next work."""
CREDIT: Final = 20
"""Records that a client takes ahead of what it has worked on."""
OVER: Final = frozenset(
    {ErrorCode.UNKNOWN_MEMBER, ErrorCode.STALE_MEMBER_EPOCH, ErrorCode.FENCED_INSTANCE}
)
"""Whoever hears one of these is no member any more, or not over this stream."""


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
    dangling: list[Wire] = field(default_factory=list)
    """Streams that it has given up; the node may not know, and hears what is on its way."""

    # What it says.

    def connect(self) -> None:
        """Join, or resume; the first thing on a new stream."""
        if self.wire is not None:
            return
        choose = self.world.choose
        rejoin = None
        if self.membership is not None:
            stands = {one.partition: Stand(Offset(one.done)) for one in self.held.values()}
            said = {name: one.partition for name, one in self.held.items()}
            rejoin = Rejoin(*self.membership, stands, said)
        self.held, self.to_give = {}, []
        opening = Opening(
            group=self.group,
            topics=self.topics,
            rejoin=rejoin,
            instance_id=self.instance_id,
            session_timeout_ms=choose.choice((1_000, 4_000, 8_000)),
            rebalance_timeout_ms=choose.choice((1_000, 1_000, 3_000)),
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
            await self.wire.hear()

    async def arrive(self) -> None:
        """Let what it has said reach the node, one thing over one stream."""
        self.dangling = [wire for wire in self.dangling if wire.open]
        wires = [wire for wire in (*self.dangling, self.wire) if wire is not None and wire.outbox]
        if wires:
            await self.world.choose.choice(wires).hear()

    def give_up(self) -> None:
        """Take the stream for broken, which the node does not."""
        if self.wire is not None:
            self.dangling.append(self.wire)
            self._ended(None)

    async def overtake(self) -> None:
        """Resume; what was said over the stream before arrives when that has been decided."""
        former = self.wire
        self.commit()
        self.give_up()
        self.connect()
        for _ in range(DECIDED_TURNS):
            await asyncio.sleep(0)
        while former is not None and former.outbox and former.open and former.session is not None:
            await former.hear()

    async def cut(self) -> None:
        for wire in (*self.dangling, self.wire):
            if wire is not None and wire.open:
                await wire.cut(self.world.choose)
        self.dangling = []

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
            case Revoke(names, _):
                for name in names:
                    self._asked_back(name)
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
        if held is None or held.partition != step.partition.id:
            self._grant(int(step.next_offset - step.start_offset))
            return
        assert step.start_offset == held.arrived, "DELIVERED_WITHOUT_A_GAP"
        held.arrived = int(step.next_offset)

    def died(self) -> "Client":
        """Return the program that is started in its place, which knows nothing."""
        return replace(
            self,
            wire=None,
            membership=None,
            held={},
            to_give=[],
            stream=None,
            silent=False,
            dangling=[],
        )

"""A group of the model: a coordinator that is right, and members that hear of it late.

A member may be expired without knowing, its commits may arrive when another has its partition (they
are refused then), and their answers may be lost. One commit of a member is under way at a time.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tests.chaos.history import (
    Assigned,
    Commit,
    Committed,
    Diverged,
    Gap,
    Gave,
    Killed,
    Look,
    Looked,
    Read,
    Reset,
)
from tests.chaos.world import Part, World

GROUP = "crowd"


class Seat:
    """A partition as the coordinator sees it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.owner: Member | None = None
        self.turn = 0
        self.committed: int | None = None
        self.most = 0
        """The highest commit that anybody began."""
        self.is_seeking = False


class Hold:
    """A partition as a member sees it."""

    def __init__(self, turn: int, position: int, cuts: int) -> None:
        self.turn = turn
        self.position = position
        self.cuts = cuts


class Member:
    """A member: it reads and commits at once, and hears of changes later."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inbox: deque[Callable[[], None]] = deque()
        self.holds: dict[str, Hold] = {}
        self.is_committing = False


class Request(NamedTuple):
    """A commit that has not arrived yet."""

    member: Member
    id: int
    seat: Seat
    turn: int
    offset: int


class Group:
    """The coordinator, its members, and who looks at offsets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rand = world.rand
        self.seats = [Seat(part) for part in world.parts.values()]
        self.members: list[Member] = []
        self.requests: deque[Request] = deque()
        self.looks: list[tuple[int, Seat, int | None, bool]] = []
        self.epoch = 0
        self.known: dict[str, int] = {}
        """Highest commit of which somebody was told."""

    def join(self) -> None:
        if len(self.members) < 4:
            self.members.append(Member(f"member-{self.world.number()}"))

    def die(self) -> None:
        """A member's process is killed; what it has sent may still arrive."""
        if len(self.members) > 1 and not self.world.planted:
            member = self.members.pop(self.rand.randrange(len(self.members)))
            self.world.note("run", Killed, who=member.name)
            member.inbox.clear()
            member.holds.clear()
            for seat in self.seats:
                if seat.owner is member:
                    seat.owner = None

    def assign(self) -> None:
        """The coordinator gives a free partition to somebody, who hears of it later."""
        free = [seat for seat in self.seats if seat.owner is None and not seat.is_seeking]
        if free and self.members:
            self.give(self.rand.choice(free), self.rand.choice(self.members))

    def give(self, seat: Seat, member: Member) -> None:
        at, world = seat.part.at, self.world
        self.epoch += 1
        seat.turn += 1
        seat.owner = member
        place = seat.part.start if seat.committed is None else seat.committed
        if self.known.get(at, 0) and world.strikes("begins-before"):
            place = self.known[at] - 1
        most = seat.part.end
        is_past = 0 < self.known.get(at, 0) and seat.most < most and world.strikes("begins-past")
        place = most if is_past else place
        epoch, turn, cuts = self.epoch, seat.turn, len(seat.part.cuts)
        shown = place if is_past else self.rand.choice((None, place))

        def hear() -> None:
            member.holds[at] = Hold(turn, place, cuts)
            world.note(member.name, Assigned, group=GROUP, places={at: shown}, epoch=epoch)

        member.inbox.append(hear)
        while is_past and member.inbox:  # before anybody who lost it commits so much
            member.inbox.popleft()()
        others = [one for one in self.members if one is not member]
        if others and world.strikes("two-owners", 0.1):
            for one in (member, others[0]):
                fields = {"group": GROUP, "places": {at: None}, "epoch": self.epoch + 1}
                world.note(one.name, Assigned, **fields)

    def expire(self) -> None:
        """The coordinator takes a partition; its member hears of it later."""
        seat = self.rand.choice(self.seats)
        if seat.owner is not None and not self.world.planted:
            self.take(seat)

    def take(self, seat: Seat) -> None:
        member, at, turn = seat.owner, seat.part.at, seat.turn
        seat.owner = None
        if member is not None:
            member.inbox.append(lambda: self.lose(member, at, turn))

    def lose(self, member: Member, at: str, turn: int) -> None:
        if at in member.holds and member.holds[at].turn == turn:
            del member.holds[at]
            self.world.note(member.name, Gave, group=GROUP, places=[at])

    def hear(self) -> None:
        if self.members:
            member = self.rand.choice(self.members)
            if member.inbox:
                member.inbox.popleft()()

    def read(self) -> None:
        if not self.members:
            return
        member = self.rand.choice(self.members)
        if member.holds:
            at = self.rand.choice(sorted(member.holds))
            self.read_on(member, at, self.rand.randint(1, 6))

    def read_on(self, member: Member, at: str, most: int) -> None:
        hold, part = member.holds[at], self.world.parts[at]
        cut = min(part.cuts[hold.cuts :], default=hold.position)
        hold.cuts = len(part.cuts)
        if cut < hold.position:
            hold.position = cut
            self.world.note(member.name, Diverged, at=at, offset=cut)
        if hold.position < part.start:
            hold.position = part.start
            self.world.note(member.name, Gap, at=at, start=part.start)
        end = min(part.end, hold.position + most)
        runs, epochs, _ = part.runs(hold.position, end)
        if runs:
            self.world.note(member.name, Read, at=at, runs=runs, epochs=epochs)
            part.seen.update(range(hold.position, end))
            hold.position = end

    def commit(self) -> None:
        """A member commits what it has read; the commit arrives later, if ever."""
        ready = [one for one in self.members if one.holds and not one.is_committing]
        if not ready:
            return
        member = self.rand.choice(ready)
        at = self.rand.choice(sorted(member.holds))
        hold = member.holds[at]
        seat = next(seat for seat in self.seats if seat.part.at == at)
        offset = hold.position
        seat.most = max(seat.most, offset)
        is_owner = seat.owner is member and seat.turn == hold.turn
        if is_owner and self.known.get(at, 0) and self.world.strikes("commits-lower"):
            self.commit_at_once(member, seat, self.known[at] - 1)
            return
        member.is_committing = True
        number = self.world.number()
        self.world.note(member.name, Commit, id=number, group=GROUP, places={at: offset})
        self.requests.append(Request(member, number, seat, hold.turn, offset))

    def commit_at_once(self, member: Member, seat: Seat, offset: int) -> None:
        """A member commits and is answered before anything else happens."""
        number, places = self.world.number(), {seat.part.at: offset}
        self.world.note(member.name, Commit, id=number, group=GROUP, places=places)
        self.world.note(member.name, Committed, id=number)
        seat.committed = offset

    def arrive(self) -> None:
        """The oldest commit arrives; its answer may be lost."""
        if not self.requests:
            return
        request = self.requests.popleft()
        member, seat = request.member, request.seat
        is_owner = seat.turn == request.turn and seat.owner is member
        at = seat.part.at
        if self.rand.random() < 0.1:  # the commit is lost
            member.is_committing = False
            return
        if is_owner:
            seat.committed = request.offset
        member.is_committing = False
        if self.rand.random() < 0.1 or member not in self.members:
            return
        refused = {} if is_owner else {at: "STALE_MEMBER_EPOCH"}

        def hear() -> None:
            self.world.note(member.name, Committed, id=request.id, refused=refused)
            if is_owner:
                self.known[at] = max(self.known.get(at, 0), request.offset)

        member.inbox.append(hear)

    def look(self) -> None:
        """Somebody asks for an offset, is answered later, and hears that later still."""
        if self.looks and self.rand.random() < 0.4:
            self.hear_of_look()
            return
        if self.rand.random() < 0.5:
            seat, number = self.rand.choice(self.seats), self.world.number()
            self.world.note("looker", Look, id=number, group=GROUP, places=[seat.part.at])
            least = self.known.get(seat.part.at, 0)
            offset, is_new = seat.committed, self.rand.random() < 0.5
            if least and self.world.strikes("told-too-little"):
                offset, is_new = self.rand.choice((None, least - 1)), False
            elif seat.committed is not None and self.world.strikes("told-too-much"):
                offset, is_new = seat.part.end + 1_000, False
            self.looks.append((number, seat, offset, is_new))

    def hear_of_look(self) -> None:
        look = self.rand.choice(self.looks)
        self.looks.remove(look)
        number, seat, offset, is_new = look
        offset = seat.committed if is_new else offset
        self.world.note("looker", Looked, id=number, places={seat.part.at: offset})

    def forget_commits(self) -> None:
        """Planted: a coordinator fails over to one that has not all commits."""
        seat = self.rand.choice(self.seats)
        if self.known.get(seat.part.at, 0) and self.world.strikes("commit-is-lost"):
            seat.committed = self.known[seat.part.at] - 1
            seat.turn += 1
            self.take(seat)
            number = self.world.number()
            self.world.note("looker", Look, id=number, group=GROUP, places=[seat.part.at])
            self.looks.append((number, seat, seat.committed, False))

    def seek(self) -> None:
        """The group is sent elsewhere in a partition: ordered, or over."""
        seat = self.rand.choice(self.seats)
        at = seat.part.at
        self.world.note("run", Reset, group=GROUP, places=[at], over=seat.is_seeking)
        if not seat.is_seeking:
            seat.turn += 1
            self.take(seat)
            seat.committed = self.rand.randint(seat.part.start, seat.part.end)
            self.known.pop(at, None)
        seat.is_seeking = not seat.is_seeking

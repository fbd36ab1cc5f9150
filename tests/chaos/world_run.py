"""A run of the model from one seed: steps at random, then an end at which everything is read."""

from collections.abc import Callable

from tests.chaos.history import Assigned, Closed, Drained, Killed
from tests.chaos.world import Reader, World
from tests.chaos.world_asks import Asks
from tests.chaos.world_group import GROUP, Group, Hold, Member


def run(seed: int, steps: int, plant: str = "") -> World:
    """Return a world that has come to its end."""
    world = World(seed, plant)
    group, asks = Group(world), Asks(world)
    often: list[Callable[[], None]] = [
        world.send, world.store, world.store, world.tell, world.tell, world.fetch, world.hand_out,
        group.assign, group.hear, group.hear, group.read, group.read, group.commit, group.arrive,
        asks.ask, asks.answer, asks.hand_over,
    ]  # fmt: skip
    seldom: list[Callable[[], None]] = [
        world.give_up, world.elect, world.metadata, group.join, group.die, group.expire, group.look,
        group.look, world.make_a_hole, group.forget_commits,
    ]  # fmt: skip
    if not plant:
        seldom += [world.trim, world.lose, group.seek]
    for _ in range(steps):
        world.rand.choice(often if world.rand.random() < 0.85 else seldom)()
    _end(world, group, asks)
    return world


def _end(world: World, group: Group, asks: Asks) -> None:
    """Let what is under way arrive or be lost, then read everything."""
    _heal(world, group)
    for member in group.members:
        while member.inbox:
            member.inbox.popleft()()
        for at in sorted(member.holds):
            _read_all(group, member, at)
    for writer in world.writers:
        if world.rand.random() < 0.5:
            world.note("run", Killed, who=writer.name)
        else:
            world.note(writer.name, Closed)
    while group.looks:
        group.hear_of_look()
    asks.finish()
    _drain(world, group)


def _heal(world: World, group: Group) -> None:
    """End what was begun, and hand out what was fetched."""
    while any(part.losing for part in world.parts.values()):
        world.lose()
    while any(seat.is_seeking for seat in group.seats):
        group.seek()
    for reader in world.readers:
        while reader.inbox:
            world.hand_out_one(reader)
    while group.requests:
        group.arrive()


def _read_all(group: Group, member: Member, at: str) -> None:
    """Let a member that still holds a partition read and commit all of it."""
    seat = next(seat for seat in group.seats if seat.part.at == at)
    hold = member.holds[at]
    if seat.owner is not member or seat.turn != hold.turn:
        return
    group.read_on(member, at, seat.part.end)
    group.commit_at_once(member, seat, hold.position)


def _drain(world: World, group: Group) -> None:
    drain, last = Reader("drain"), Member("last")
    for seat in group.seats:
        part, at = seat.part, seat.part.at
        drain.fetched[at], drain.cuts[at] = part.start, len(part.cuts)
        world.begin(drain, part)
        world.fetch_from(drain, part, part.end)
        while drain.inbox:
            world.hand_out_one(drain)
        world.note("run", Drained, at=at, end=part.end)
        place = part.start if seat.committed is None else seat.committed
        group.epoch += 1
        world.note(last.name, Assigned, group=GROUP, places={at: place}, epoch=group.epoch)
        last.holds[at] = Hold(seat.turn + 1, place, len(part.cuts))
        group.read_on(last, at, part.end)
        group.commit_at_once(last, seat, last.holds[at].position)
        world.note("run", Drained, at=at, end=part.end, group=GROUP)

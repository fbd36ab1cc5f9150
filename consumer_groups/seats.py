"""A group's members as a decision would leave them: worked out on values, then told as records.

Reconciling follows KIP-848: targets change at once, holds follow. What a member has and shall not
have any more, it hands over first (`revoking`); only what nobody holds is given (`owned`). So a
partition has one holder at any time, and what a member keeps is never touched.

Otherwise than there, a member is in its group's epoch at once, and is given what is free while it
still has something to hand over: commits are held against the epoch in which a partition was got,
so nothing rests on its epoch being an older one, and what is free is served without waiting (P31).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from consumer_groups.assignors.candidate import Candidate, Targets
from consumer_groups.assignors.table import ASSIGNORS
from consumer_groups.group import Group, Member, member_view
from consumer_groups.records import (
    AssignmentChanged,
    GroupEpoch,
    MemberId,
    MemberJoined,
    Owned,
)
from consumer_groups.topics import TopicPartitions, TopicView
from consumer_groups.views import MemberView
from model.ids import TopicId, TopicName


@dataclass(frozen=True, slots=True)
class Seat:
    """One member: who it is, what it shall hold, and what the log says that it holds."""

    joined: MemberJoined
    assignment: AssignmentChanged
    logged: AssignmentChanged | None
    """None: the log does not know the member yet."""
    gives_back: bool = False
    """It holds something no longer that it held."""

    def holds(self) -> Iterable[Owned]:
        """Yield what no other member may have."""
        yield from self.assignment.owned
        yield from self.assignment.revoking

    def view(self, *, epoch: GroupEpoch) -> MemberView:
        """Return the member as it is told, in a group of this epoch."""
        return member_view(self.joined, self.assignment, group_epoch=epoch)


Seats = dict[MemberId, Seat]


def seats_of(group: Group) -> Seats:
    """Return a group's members as they are."""
    return {
        name: Seat(member.joined, member.assignment, member.assignment)
        for name, member in group.members.items()
    }


def newcomer(joined: MemberJoined) -> Seat:
    """Return the seat of a member that comes without anything."""
    return Seat(joined, Member(joined).assignment, None)


def present(seats: Seats, topics: TopicView) -> dict[TopicName, TopicPartitions]:
    """Return those of the topics wanted that there are now."""
    names = {name for seat in seats.values() for name in seat.joined.topics}
    found = {name: topics.find(name) for name in sorted(names)}
    return {name: topic for name, topic in found.items() if topic is not None}


def distribute(
    seats: Seats, wanted: Mapping[TopicName, TopicPartitions], *, assignor: str
) -> Targets:
    """Return whom each partition shall go to."""
    # Members mostly want the same: a set for each different subscription, not for each member.
    subscriptions = {
        names: frozenset(wanted[name].topic for name in names if name in wanted)
        for names in {seat.joined.topics for seat in seats.values()}
    }
    candidates = {
        name: Candidate(
            topics=subscriptions[seat.joined.topics],
            target=seat.assignment.target,
            instance_id=seat.joined.instance_id,
        )
        for name, seat in seats.items()
    }
    return ASSIGNORS[assignor](candidates, {row.topic: row.partitions for row in wanted.values()})


def retarget(seats: Seats, targets: Targets, *, epoch: GroupEpoch) -> Seats:
    """Return the seats with other targets: what is not among them is to be handed over."""
    changed = dict(seats)
    for name, seat in seats.items():
        old = seat.assignment
        if targets[name] == old.target:  # what is owned is always part of the target
            continue
        shall = frozenset(targets[name])
        to_go = [hold for hold in old.owned if hold.partition not in shall]
        assignment = replace(
            old,
            epoch=epoch,
            owned=tuple(hold for hold in old.owned if hold.partition in shall),
            revoking=tuple(sorted((*old.revoking, *to_go))),
            target=targets[name],
        )
        changed[name] = replace(seat, assignment=assignment)
    return changed


def give(seats: Seats, *, epoch: GroupEpoch) -> Seats:
    """Return the seats with everything given that is wanted and that nobody holds.

    What somebody owns is part of his target, and targets share nothing: of what a member lacks,
    others hold only what they have still to hand over. Who lacks nothing is not looked at.
    """
    held = {hold.partition for seat in seats.values() for hold in seat.assignment.revoking}
    changed = dict(seats)
    for name, seat in seats.items():
        old = seat.assignment
        if len(old.owned) == len(old.target):
            continue
        has = {hold.partition for hold in old.owned}
        lacking = [wanted for wanted in old.target if wanted not in has]
        given = [Owned(wanted, epoch) for wanted in lacking if wanted not in held]
        if given:
            owned = tuple(sorted((*old.owned, *given)))
            changed[name] = replace(seat, assignment=replace(old, epoch=epoch, owned=owned))
    return changed


def without(seat: Seat, gone: frozenset[Owned], *, epoch: GroupEpoch, fenced: bool) -> Seat:
    """Return a member's seat once it holds these no longer.

    `fenced`: it did not hand them over by itself, so that it may not go on as if it had them.
    """
    old = seat.assignment
    left = replace(
        old,
        epoch=epoch,
        fenced_below=epoch if fenced else old.fenced_below,
        owned=tuple(hold for hold in old.owned if hold not in gone),
        revoking=tuple(hold for hold in old.revoking if hold not in gone),
    )
    return replace(seat, assignment=left, gives_back=True)


def drop_topics(seats: Seats, alive: frozenset[TopicId], *, epoch: GroupEpoch) -> Seats:
    """Return the seats without what belongs to topics that are not there any more."""
    changed = dict(seats)
    for name, seat in seats.items():
        gone = frozenset(hold for hold in seat.holds() if hold.partition.topic not in alive)
        if gone:
            changed[name] = without(seat, gone, epoch=epoch, fenced=True)
    return changed


def assignments(seats: Seats) -> tuple[AssignmentChanged, ...]:
    """Return a record for each member whose assignment is another one than the log says.

    Who gives something back comes before those that get it: the log is replayed in this order.
    """
    changed = [seat for seat in seats.values() if _differs(seat)]
    in_order = sorted(changed, key=lambda seat: not seat.gives_back)
    return tuple(seat.assignment for seat in in_order)


def _differs(seat: Seat) -> bool:
    """Tell whether a member holds, hands over or shall have something else than before.

    A later epoch alone is no change: a member is always in its group's.
    """
    new, old = seat.assignment, seat.logged
    if new is old:
        return False
    if old is None:
        return bool(new.owned or new.target)
    return (new.owned, new.revoking, new.target, new.fenced_below) != (
        old.owned,
        old.revoking,
        old.target,
        old.fenced_below,
    )

"""Who changes the simulated quorum: takes out whoever is gone for good, else what comes to mind."""

from typing import TYPE_CHECKING, Final

from cluster.raft.entry import EntryKind
from cluster.raft.membership import AddLearner, Change, Promote, Remove
from cluster.raft.voters import Configuration, decode_configuration
from model.ids import Index

if TYPE_CHECKING:
    from tests.sim.raft import World

VOTERS_LEAST: Final = 3
"""No directory is lost, and no member removed, while fewer voters would be left."""


def some_change(world: "World", quorum: Configuration) -> Change | None:
    """Return a change that makes sense; None: there is none."""
    for member in quorum.members:
        if not world.is_current(member):
            return Remove(member)
    changes: list[Change] = [Promote(member) for member in quorum.learners]
    changes += [Remove(member) for member in quorum.learners]
    if len(quorum.voters) > VOTERS_LEAST:
        changes += [Remove(member) for member in quorum.voters]
    present = {member.node for member in quorum.members}
    absent = [process.me for node, process in world.processes.items() if node not in present]
    changes += map(AddLearner, absent)
    return world.choose.choice(changes) if changes else None


def lives_without_one(world: "World") -> bool:
    """Tell whether every quorum that may come to count has enough voters, none of them lost."""
    quorums = [world.books.quorums[-1]]
    for process in world.processes.values():
        entries = process.disk.entries
        if process.node is not None:
            quorums.append(process.node.configuration)
            log = process.node.log
            entries = list(log.read(log.first_index, Index(log.last_index + 1)))
        quorums += [
            decode_configuration(entry.payload, at=0)
            for entry in entries
            if entry.kind == EntryKind.VOTERS and entry.index > world.books.committed
        ]
    return all(
        len(quorum.voters) >= VOTERS_LEAST and all(map(world.is_current, quorum.voters))
        for quorum in quorums
    )

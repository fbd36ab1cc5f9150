"""How the cluster is, in sentences: what cannot be used, what is missing, and what would help.

`verdict` is a function of what one node knows: its metadata, its view of the quorum, its own disk.
Partitions that lack the same thing share a sentence, so that a lost node is told once and not once
for each of its partitions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from cluster.controller.election import Awaited, Need, Roster, awaited, roster_of
from cluster.controller.image import BrokerImage, MetadataImage, PartitionImage, Standing
from cluster.controller.quorum_status import QuorumStatus
from cluster.raft.quorum import majority
from model.ids import NodeId

Place = tuple[str, int]
"""A topic's name and a partition's number."""
PLACES_TOLD_MAX: Final = 3
"""Of one sentence; the rest is counted."""
SENTENCES_MAX: Final = 20
"""Of one kind; the rest is counted."""

_STANDINGS: Final = {
    Standing.BARRED: "node {} leads nothing: its clock is in doubt",
    Standing.STOPPING: "node {} is stopping: it hands over what it leads",
    Standing.FENCED: "node {} is fenced: the controller does not hear it; see that it runs and is "
    "reachable",
    Standing.STOPPED: "node {} is offline: it was stopped in order; start it again",
}


class Status(IntEnum):
    """The traffic light."""

    HEALTHY = 1
    DEGRADED = 2
    """Everything works, with less in reserve."""
    UNHEALTHY = 3
    """Something cannot be read or written, or metadata cannot change."""


class PartitionFaults(NamedTuple):
    """Which partitions are not as they should be, by place; a function of the metadata."""

    leaderless: Mapping[Place, PartitionImage]
    under_replicated: Mapping[Place, PartitionImage]
    under_min_isr: Mapping[Place, tuple[PartitionImage, int]]
    """With what min.insync.replicas asks for."""
    leaders: Mapping[NodeId | None, int]
    """Partitions that each node leads; None: nobody does."""
    replicas: Mapping[NodeId, int]
    """Partitions that each node has a copy of."""


class Verdict(NamedTuple):
    """How the cluster is, and why."""

    status: Status
    reasons: Sequence[str]
    faults: PartitionFaults


def faults_of(image: MetadataImage) -> PartitionFaults:
    """Look at every partition once."""
    leaderless: dict[Place, PartitionImage] = {}
    lacking: dict[Place, PartitionImage] = {}
    refusing: dict[Place, tuple[PartitionImage, int]] = {}
    leaders: Counter[NodeId | None] = Counter()
    replicas: Counter[NodeId] = Counter()
    for topic in image.topics.values():
        least = topic.settings.min_insync_replicas
        for row in topic.partitions:
            place = (topic.name, row.number)
            leaders[row.leader] += 1
            replicas.update(row.replicas)
            if row.leader is None:
                leaderless[place] = row
            if len(row.isr) < len(row.replicas):
                lacking[place] = row
            if len(row.isr) < least:
                refusing[place] = (row, least)
    return PartitionFaults(leaderless, lacking, refusing, leaders, replicas)


def verdict(
    image: MetadataImage,
    quorum: QuorumStatus,
    faults: PartitionFaults,
    *,
    controller: NodeId | None,
    own: Sequence[str] = (),
) -> Verdict:
    """Judge.

    Args:
        image: The newest metadata that the node knows.
        quorum: The controller quorum as the node sees it.
        faults: `faults_of(image)`.
        controller: Who leads the quorum; None: nobody is known to.
        own: What is wrong on nodes' own disks, in sentences.
    """
    grave = [*own]
    if controller is None:
        grave += _without_controller(quorum, faults)
    grave += _bounded(_leaderless(faults.leaderless, image.brokers), "partitions have no leader")
    grave += _bounded(_refusing(faults), "partitions refuse acks=all")
    light = [
        _STANDINGS[broker.standing].format(node)
        for node, broker in sorted(image.brokers.items())
        if broker.standing is not Standing.RUNNING
    ]
    if controller is not None:
        light += _quorum(quorum, image.brokers)
    light += _bounded(_lacking(faults), "partitions lack replicas in sync")
    status = Status.UNHEALTHY if grave else Status.DEGRADED if light else Status.HEALTHY
    return Verdict(status, (*grave, *light), faults)


def _without_controller(quorum: QuorumStatus, faults: PartitionFaults) -> list[str]:
    """Tell what is needed for a controller, and what stands still without one."""
    voters, unheard = quorum.voters, quorum.unheard
    needed = majority(len(voters)) - (len(voters) - len(unheard))
    told = "the controller quorum has no leader: metadata cannot change"
    if needed <= 0:
        return [f"{told}; an election is under way"]
    of = _nodes(unheard)
    more = f"{needed} of {of}" if len(unheard) > needed else of
    lost = sum(faults.leaders.get(node, 0) for node in unheard)
    rest = f"; {_partitions(lost)} that these lead cannot be written or read" if lost else ""
    return [f"{told} until {more} can be reached{rest}"]


def _quorum(quorum: QuorumStatus, brokers: Mapping[NodeId, BrokerImage]) -> list[str]:
    """Tell which voters are missing while there is a controller."""
    told = []
    voters = quorum.voters
    missing = [
        one.node
        for one in voters
        if not one.is_heard or not _is_up(brokers.get(one.node), one.directory)
    ]
    if missing:
        spare = (len(voters) - len(missing)) - majority(len(voters))
        then = (
            "if one more goes, it decides nothing"
            if spare <= 0
            else f"it bears the loss of {spare} more"
        )
        told.append(
            f"the controller quorum lacks {_nodes(missing)} of its {len(voters)} voters: {then}"
        )
    return told


def _is_up(broker: BrokerImage | None, directory: bytes) -> bool:
    return broker is None or (broker.directory == directory and broker.standing.is_up)


def _leaderless(
    rows: Mapping[Place, PartitionImage], brokers: Mapping[NodeId, BrokerImage]
) -> list[tuple[str, int]]:
    """Return a sentence for each group of partitions that wait for the same, with its size."""
    roster = roster_of(brokers)
    groups: dict[tuple[tuple[Awaited, ...], NodeId | None], list[Place]] = {}
    for place, row in rows.items():
        key = (awaited(row, roster), _last_resort(row, roster))
        groups.setdefault(key, []).append(place)
    return [
        (_waiting(places, waits, resort), len(places)) for (waits, resort), places in groups.items()
    ]


def _waiting(places: Sequence[Place], waits: Sequence[Awaited], resort: NodeId | None) -> str:
    told = f"{_places(places)} {_has(places)} no leader"
    clean = [one for one in waits if one.clean]
    if clean:
        each = " or ".join(_need(one) for one in clean)
        told += f": waiting for {each}"
    elif waits:
        each = " and for ".join(_need(one) for one in waits)
        told += f": whoever could lead was stopped without order; waiting for {each}"
    else:
        told += ": no copy is left that is known to be complete"
    if waits and all(one.need is not Need.RETURN for one in waits):
        return told  # it comes by itself
    topic, number = places[0]
    if resort is None:
        return f"{told}; no node that has a copy runs"
    command = f"tidelog partition elect --unclean {topic}/{number} --replica {resort}"
    condition = "if that never comes, go on" if waits else "go on"
    return f"{told}; {condition} without what is lost: {command}"


def _need(one: Awaited) -> str:
    match one.need:
        case Need.RETURN:
            return f"node {one.node} to come back"
        case Need.LOG_END:
            return f"node {one.node} to say how far its log goes"
        case Need.FITNESS:
            return f"node {one.node} to be fit to lead (it stops, or its clock is in doubt)"


def _last_resort(row: PartitionImage, roster: Roster) -> NodeId | None:
    """Return the replica that would lose least: one that runs, a candidate first."""
    for members in (row.candidates, row.replicas):
        for node in members:
            if node in roster.fit:
                return node
    return None


def _refusing(faults: PartitionFaults) -> list[tuple[str, int]]:
    """Tell who is missing where too few are in sync; those without a leader are told already."""
    groups: dict[tuple[int, int, tuple[NodeId, ...]], list[Place]] = {}
    for place, (row, least) in faults.under_min_isr.items():
        if row.leader is not None:
            groups.setdefault((len(row.isr), least, _absent(row)), []).append(place)
    return [
        (
            f"{_places(places)} {_refuses(places)} acks=all: {in_sync} in sync, "
            f"min.insync.replicas is {least}; {_nodes(missing)} {_is(missing)} missing",
            len(places),
        )
        for (in_sync, least, missing), places in groups.items()
    ]


def _lacking(faults: PartitionFaults) -> list[tuple[str, int]]:
    """Tell which replicas are behind where nothing worse is told."""
    groups: dict[tuple[NodeId, ...], list[Place]] = {}
    for place, row in faults.under_replicated.items():
        if place not in faults.leaderless and place not in faults.under_min_isr:
            groups.setdefault(_absent(row), []).append(place)
    return [
        (f"{_places(places)} {_lack(places)} an in-sync replica on {_nodes(missing)}", len(places))
        for missing, places in groups.items()
    ]


def _absent(row: PartitionImage) -> tuple[NodeId, ...]:
    return tuple(sorted(node for node in row.replicas if node not in row.isr))


def _bounded(told: Sequence[tuple[str, int]], what: str) -> list[str]:
    """Return sentences, those of many partitions first, as many as anybody reads."""
    ordered = sorted(told, key=lambda one: -one[1])
    shown = [sentence for sentence, _ in ordered[:SENTENCES_MAX]]
    rest = sum(count for _, count in ordered[SENTENCES_MAX:])
    return [*shown, f"{rest} more {what}"] if rest else shown


# Words.


def _places(places: Sequence[Place]) -> str:
    shown = [f"{topic}/{number}" for topic, number in places[:PLACES_TOLD_MAX]]
    rest = len(places) - len(shown)
    return f"{', '.join(shown)} and {rest} more" if rest else _and(shown)


def _nodes(nodes: Iterable[NodeId]) -> str:
    listed = sorted(map(int, nodes))
    return f"node{'s' if len(listed) > 1 else ''} {_and(list(map(str, listed)))}"


def _and(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _partitions(count: int) -> str:
    return "1 partition" if count == 1 else f"{count} partitions"


def _has(many: Sequence[object]) -> str:
    return "has" if len(many) == 1 else "have"


def _is(many: Sequence[object]) -> str:
    return "is" if len(many) == 1 else "are"


def _refuses(many: Sequence[object]) -> str:
    return "refuses" if len(many) == 1 else "refuse"


def _lack(many: Sequence[object]) -> str:
    return "lacks" if len(many) == 1 else "lack"

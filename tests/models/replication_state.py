"""One partition with three replicas, its controller row and its links, as one value.

Real cores decide (`PartitionLeader`, `PartitionFollower`, `Leadership`, and the controller's
`election`); here is what is around them. A core is made from the value, takes one event, and is
put back: `leader_of`, `follower_of` and their opposites know the fields of the cores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from cluster.controller.image import PartitionImage
from cluster.peer.replica import NO_EPOCH, Batches, Diverging, Open, Progress
from cluster.replication.events import Assignment, ProposeIsr
from cluster.replication.follower import PartitionFollower, Phase
from cluster.replication.high_watermark import CommitRule, Ends, Isr
from cluster.replication.known_follower import NEVER, KnownFollower
from cluster.replication.leader import PartitionLeader
from cluster.replication.leadership import Leadership, Role
from logstore.leader_epochs import LeaderEpochs
from logstore.settings import Flush
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, NodeId, Offset, RegistrationEpoch

Record: TypeAlias = tuple[LeaderEpoch, int]
"""Its leader epoch, and a number that no other append has."""
Log: TypeAlias = tuple[Record, ...]
NODES: Final = (NodeId(1), NodeId(2), NodeId(3))
NOW: Final = MonotonicMs(0)
PAIRS: Final = tuple((a, b) for a in NODES for b in NODES if a != b)
LINK: Final = {pair: place for place, pair in enumerate(PAIRS)}
DOWN, IDLE, OPENING, CUTTING, FOLLOWING, HALTED, ELECTED, LEADING = range(8)
_PHASES: Final = {
    IDLE: Phase.IDLE,
    OPENING: Phase.OPENING,
    CUTTING: Phase.CUTTING,
    FOLLOWING: Phase.FOLLOWING,
    HALTED: Phase.HALTED,
}
_NUMBERS: Final = {phase: number for number, phase in _PHASES.items()}
_ROLES: Final = {IDLE: Role.NONE, ELECTED: Role.ELECTED, LEADING: Role.LEADER}


RULES: Final = {
    k: CommitRule(flush=Flush.QUORUM, min_insync_replicas=k, replica_lag_ms_max=1)
    for k in (1, 2, 3)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far the model goes, and what the topic asks for."""

    min_insync_replicas: int = 2
    appends: int = 2
    epochs: int = 3
    """Leader epochs at most: elections and one."""
    faults: int = 2
    """Kills, power cuts, and nodes that are fenced while they live."""
    shrinks: int = 1
    """How often a leader finds that a follower lags."""


class Known(NamedTuple):
    """What the leader knows of one follower."""

    matched: bool
    registration: RegistrationEpoch
    ends: Ends
    sent_end: Offset


class Lead(NamedTuple):
    """What is kept of a leader's core, beside the ends of its node."""

    epoch_start: Offset
    committed: tuple[NodeId, ...]
    pending: tuple[NodeId, ...]
    partition_epoch: int
    unanswered: bool
    refused: bool
    known: tuple[Known, ...]
    """Of the other nodes, in their order."""


class Node(NamedTuple):
    """One replica: its process, its log, its disk."""

    phase: int
    log: Log
    """In memory; of a node that is down, what a start will find."""
    written: Offset
    flushed: Offset
    mark: Offset
    registration: RegistrationEpoch
    epoch: LeaderEpoch
    """The leadership that it follows or holds."""
    lossy: LeaderEpoch
    uncut: Log | None
    """What the disk holds while a cut is not durable."""
    seen: PartitionImage | None
    """The row as this node has learnt it last."""
    lead: Lead | None


class Frame(NamedTuple):
    """What is on its way, with the records of batches."""

    value: Open | Progress | Batches | Diverging
    records: Log


class Proposal(NamedTuple):
    """An `AlterIsr` on its way."""

    leader_epoch: LeaderEpoch
    followers: tuple[tuple[NodeId, RegistrationEpoch], ...]
    based_on: int


class World(NamedTuple):
    """Everything, and what has been promised to users so far."""

    nodes: tuple[Node, ...]
    links: tuple[tuple[Frame, ...], ...]
    row: PartitionImage
    registered: tuple[RegistrationEpoch, ...]
    up: tuple[bool, ...]
    """Whom the controller does not hold for dead."""
    proposals: tuple[Proposal | None, ...]
    committed: Log
    """The longest log below a high watermark that any leader ever had."""
    shown: tuple[LeaderEpoch, Offset]
    """The newest leadership that showed a high watermark, and the greatest one."""
    appends: int
    faults: int
    shrinks: int


def first(*, leader: NodeId = NODES[0]) -> World:
    """Return three empty replicas, led by one, nobody having heard of it yet."""
    zero, none = Offset(0), NO_EPOCH
    row = PartitionImage(0, leader, LeaderEpoch(1), NODES, NODES, partition_epoch=1)
    node = Node(IDLE, (), zero, zero, zero, RegistrationEpoch(1), none, none, None, None, None)
    registered = (RegistrationEpoch(1),) * 3
    nothing = (None,) * 3
    links = ((),) * len(PAIRS)
    world = (node,) * 3, links, row, registered, (True,) * 3, nothing
    return World(*world, (), (none, zero), 0, 0, 0)


@lru_cache(maxsize=100_000)
def table(log: Log) -> LeaderEpochs:
    """Return the epoch table of a log; nobody changes it."""
    found = LeaderEpochs()
    for offset, (epoch, _) in enumerate(log):
        found.appended(epoch, Offset(offset))
    return found


def ends_of(node: Node) -> Ends:
    """Return how far a replica has come."""
    return Ends(Offset(len(node.log)), node.written, node.flushed)


def assignment_of(row: PartitionImage | None) -> Assignment:
    """Return a row as the replication cores are told it."""
    if row is None:
        return Assignment(None, NO_EPOCH, NO_EPOCH, NODES, frozenset(), -1)
    return Assignment(
        row.leader,
        row.leader_epoch,
        row.lossy_epoch,
        row.replicas,
        frozenset(row.isr),
        row.partition_epoch,
        bool(row.unclean or row.lost),
    )


def leadership_of(me: NodeId, node: Node) -> Leadership:
    """Return the core that follows the metadata."""
    core = Leadership(me)
    core._assignment = assignment_of(node.seen)
    core.role = _ROLES.get(node.phase, Role.FOLLOWER)
    core.former = None
    core._early = {}
    return core


def follower_of(me: NodeId, node: Node) -> PartitionFollower:
    """Return a follower's core as it was left."""
    core = PartitionFollower.__new__(PartitionFollower)
    core._node = me
    core._registration_epoch = node.registration
    core._ends = ends_of(node)
    core._epochs = table(node.log)
    core._log_start = core._leader_start = Offset(0)
    core._high_watermark = node.mark
    core._settled = node.flushed
    core._leader_epoch = node.epoch
    core._lossy_epoch = node.lossy
    core.phase = _PHASES[node.phase]
    return core


def followed(node: Node, core: PartitionFollower, log: Log) -> Node:
    """Return a node with what its follower's core says now, and this log."""
    _, written, flushed = core._ends
    return node._replace(
        phase=_NUMBERS[core.phase],
        log=log,
        written=written,
        flushed=flushed,
        mark=core._high_watermark,
        epoch=core._leader_epoch,
        lossy=core._lossy_epoch,
    )


def leader_of(me: NodeId, node: Node, rule: CommitRule) -> PartitionLeader:
    """Return a leader's core as it was left. Everybody was heard of just now, if asked."""
    lead = node.lead
    assert lead is not None
    core = PartitionLeader.__new__(PartitionLeader)
    core._node = me
    core._rule = rule
    core._leader_epoch = node.epoch
    core._epochs = table(node.log)
    core._log, core._written, core._flushed = ends = ends_of(node)
    core._log_start = Offset(0)
    core._epoch_start = lead.epoch_start
    core._isr = Isr(frozenset(lead.committed), frozenset(lead.pending))
    core._partition_epoch = lead.partition_epoch
    core._unanswered = lead.unanswered
    core._refused = lead.refused
    core._began = NEVER
    core._followers = {}
    core._ends = {me: ends}
    for peer, known in zip((peer for peer in NODES if peer != me), lead.known, strict=True):
        follower = KnownFollower(log_end=Offset(0), caught_up_at=NOW)
        follower.matched, follower.registration_epoch, follower.ends, follower.sent_end = known
        core._followers[peer] = follower
        core._ends[peer] = known.ends
    core._lone = False
    core._high_watermark = node.mark
    core._closed = AppendTimeMs(0)
    core.alone = False
    core.enough_in_sync = len(lead.committed) >= rule.min_insync_replicas
    return core


def led(node: Node, core: PartitionLeader) -> Node:
    """Return a node with what its leader's core says now."""
    lead = Lead(
        core._epoch_start,
        tuple(sorted(core._isr.committed)),
        tuple(sorted(core._isr.pending)),
        core._partition_epoch,
        core._unanswered,
        core._refused,
        tuple(
            Known(one.matched, one.registration_epoch, one.ends, one.sent_end)
            for one in core._followers.values()
        ),
    )
    return node._replace(
        phase=LEADING,
        written=core._written,
        flushed=core._flushed,
        mark=core._high_watermark,
        lead=lead,
    )


def proposal_of(
    leader_epoch: LeaderEpoch, effect: ProposeIsr, registered: Sequence[RegistrationEpoch]
) -> Proposal:
    """Return a proposal as it travels: who has not spoken goes as `registered`, node 1 first."""
    named = tuple(
        (node, registered[node - 1] if registration is None else registration)
        for node, registration in effect.followers.items()
    )
    return Proposal(leader_epoch, named, effect.based_on)


def durable(node: Node) -> Log:
    """Return what a power cut leaves of a node."""
    if node.uncut is None:
        return node.log[: node.flushed]
    return node.log if len(node.log) < len(node.uncut) else node.uncut

"""What may happen next to the partition of `replication_state`: which step, to whom."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from cluster.controller.image import Unclean
from model.ids import NodeId
from tests.models.replication_state import (
    CUTTING,
    DOWN,
    ELECTED,
    FOLLOWING,
    LINK,
    NODES,
    OPENING,
    PAIRS,
    Limits,
    Node,
    World,
    ends_of,
)
from tests.models.replication_steps import Draft

Steps: TypeAlias = Iterator[tuple[str, Callable[[], World]]]
Step: TypeAlias = tuple[Callable[..., None], *tuple[NodeId, ...]]


def steps(world: World, *, limits: Limits, check: Callable[[Draft], None]) -> Steps:
    """Yield what may happen, in an order that is always the same."""

    def after(change: Callable[..., None], who: tuple[NodeId, ...]) -> World:
        draft = Draft(world, limits)
        change(draft, *who)
        check(draft)
        return draft.frozen()

    if world.row.leader_epoch > limits.epochs:
        return
    for change, *who in _possible(world, limits):
        names = ",".join(map(str, who))
        yield f"{change.__name__}({names})", partial(after, change, tuple(who))


def _possible(world: World, limits: Limits) -> Iterator[Step]:
    for me in NODES:
        node = world.nodes[me - 1]
        if node.phase == DOWN:
            yield Draft.start, me
        else:
            yield from _disk(me, node)
            yield from _metadata(me, world)
        if node.lead is not None:
            yield from _leading(me, world, limits)
        elif node.phase in {OPENING, FOLLOWING}:
            yield from _following(me, world)
        yield from _faults(me, world, limits)
    if world.faults < limits.faults:
        yield Draft.power_cut, *NODES
    for a, b in PAIRS:
        if world.links[LINK[a, b]]:
            yield Draft.deliver, a, b
        if a < b and (world.links[LINK[a, b]] or world.links[LINK[b, a]]):
            yield Draft.reset, a, b


def _faults(me: NodeId, world: World, limits: Limits) -> Iterator[Step]:
    node, may = world.nodes[me - 1], world.faults < limits.faults
    down = node.phase == DOWN
    if may and not down:
        yield Draft.kill, me
    if may and (not down or node.flushed < len(node.log)):
        yield Draft.power_cut, me
    if world.up[me - 1] and (may or down):
        yield Draft.fence, me


def _disk(me: NodeId, node: Node) -> Iterator[Step]:
    if node.phase == CUTTING:
        yield Draft.cut, me
        return
    if node.written < len(node.log):
        yield Draft.write, me
    if node.flushed < node.written:
        yield Draft.flush, me
    if node.phase == ELECTED and node.flushed == len(node.log):
        yield Draft.begin, me


def _metadata(me: NodeId, world: World) -> Iterator[Step]:
    node, row = world.nodes[me - 1], world.row
    if node.uncut is None:
        if node.seen != row:
            yield Draft.learn, me
        if row.leader is None and Unclean(me) in row.unclean:
            yield Draft.tell, me
    if not world.up[me - 1]:
        yield Draft.unfence, me
    if world.proposals[me - 1] is not None:
        yield Draft.rule_on, me


def _leading(me: NodeId, world: World, limits: Limits) -> Iterator[Step]:
    node = world.nodes[me - 1]
    lead = node.lead
    assert lead is not None
    if world.appends < limits.appends and len(lead.committed) >= limits.min_insync_replicas:
        yield Draft.append, me
    asked = lead.pending != lead.committed
    for peer, known in zip((peer for peer in NODES if peer != me), lead.known, strict=True):
        other = world.nodes[peer - 1]
        news = known.sent_end < len(node.log) or min(node.mark, known.sent_end) > other.mark
        news = news or other.phase == OPENING
        if known.matched and news and not world.links[LINK[me, peer]]:
            yield Draft.send, me, peer
        asks = not asked and world.proposals[me - 1] is None
        if peer in lead.committed and asks and world.shrinks < limits.shrinks:
            yield Draft.lag, me, peer
    if lead.unanswered:
        yield Draft.answer, me


def _following(me: NodeId, world: World) -> Iterator[Step]:
    node = world.nodes[me - 1]
    assert node.seen is not None and node.seen.leader is not None
    leader = node.seen.leader
    lead = world.nodes[leader - 1].lead
    if world.links[LINK[me, leader]]:
        return
    if node.phase == FOLLOWING and lead is not None:
        known = lead.known[[peer for peer in NODES if peer != leader].index(me)]
        if known.ends != ends_of(node) or known.registration != node.registration:
            yield Draft.report, me, leader
    if node.phase == OPENING and not world.links[LINK[leader, me]]:
        yield Draft.open_again, me

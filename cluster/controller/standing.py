"""What nodes may do: fenced and back, barred from leading, stopping, stopped, removed.

Which request when, for the shell of the active controller and of the node itself:

- `Sessions.due` names dead nodes: FENCED. `Heard.UNFENCE`: RUNNING.
- A node that is to stop asks for STOPPING, serves on until it leads nothing or its patience ends
  (the answer counts what it still leads), stops in order, and asks for STOPPED as its last word.
- A node whose clock is in doubt is BARRED, and RUNNING when it is not any more.

Every change names the registration epoch that it means: it never hits a process that came later.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from cluster.controller.image import BrokerImage, Standing
from cluster.controller.partition_changes import follow, stand
from cluster.controller.records import (
    BrokerRemoved,
    BrokerStandingChanged,
    MetadataRecord,
    PartitionsChanged,
)
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, RegistrationEpoch
from model.result import Result

FROM: Final = {
    Standing.RUNNING: {Standing.BARRED, Standing.FENCED},
    Standing.BARRED: {Standing.RUNNING, Standing.FENCED},
    Standing.STOPPING: {Standing.RUNNING, Standing.BARRED, Standing.FENCED},
    Standing.FENCED: {Standing.RUNNING, Standing.BARRED, Standing.STOPPING},
    Standing.STOPPED: {Standing.RUNNING, Standing.BARRED, Standing.STOPPING, Standing.FENCED},
}
"""From which standings each can be reached: who stops does not come back by a late heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStanding(Request[int]):
    """Change what some nodes may do; answered with how many partitions they still lead.

    A node that is not registered in that epoch any more, or cannot change so, is passed over.
    """

    nodes: tuple[tuple[NodeId, RegistrationEpoch], ...]
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveBroker(Request[None]):
    """Forget a node that holds no replica and is not up. Its id may be used again by anybody."""

    node: NodeId


def set_standing(
    state: MetadataState, request: SetStanding, _: Circumstances
) -> Result[MetadataRecord, int]:
    """Decide: the nodes' standing, and in the same records what becomes of their partitions."""
    changed = [
        replace(broker, standing=request.standing)
        for node, epoch in dict.fromkeys(request.nodes)
        if (broker := state.brokers.get(node)) is not None
        and broker.registration_epoch == epoch
        and broker.standing in FROM[request.standing]
    ]
    moved = follow(state, stand(state, *changed)) if changed else ()
    led = _led(state, {node for node, _ in request.nodes}, moved)
    return Result((*map(_record, changed), *moved), led)


def remove_broker(
    state: MetadataState, request: RemoveBroker, _: Circumstances
) -> Result[MetadataRecord, None]:
    """Decide.

    Raises:
        RequestError: UNKNOWN_BROKER; BROKER_NOT_EMPTY, it holds replicas; POLICY_VIOLATION, it
            is up.
    """
    broker = state.brokers.get(request.node)
    if broker is None:
        detail = f"broker {request.node} is not registered"
        raise RequestError(ErrorCode.UNKNOWN_BROKER, detail, node=str(request.node))
    held = state.replicas_held.get(request.node, 0)
    if held:
        raise RequestError(
            ErrorCode.BROKER_NOT_EMPTY,
            f"broker {request.node} holds {held} replicas: move them to others before",
            node=str(request.node),
            replicas=str(held),
        )
    if broker.standing.is_up:
        detail = f"broker {request.node} is running: stop it before"
        raise RequestError(ErrorCode.POLICY_VIOLATION, detail, node=str(request.node))
    return Result((BrokerRemoved(node=request.node),), None)


def replay_standing(state: MetadataState, changed: BrokerStandingChanged) -> None:
    """Take a node's standing."""
    state.set_standing(changed)


def replay_removed(state: MetadataState, removed: BrokerRemoved) -> None:
    """Forget the node."""
    state.remove_broker(removed.node)


def _record(broker: BrokerImage) -> BrokerStandingChanged:
    return BrokerStandingChanged(
        node=broker.node,
        registration_epoch=broker.registration_epoch,
        standing=broker.standing,
    )


def _led(
    state: MetadataState, nodes: AbstractSet[NodeId], moved: tuple[PartitionsChanged, ...]
) -> int:
    """Return how many partitions these nodes lead once the changes hold."""
    leaders = {
        (topic.topic_id, row.number): row.leader
        for topic in state.topics.values()
        for row in topic.partitions
    }
    for change in moved:
        leaders |= {(change.topic_id, row.number): row.leader for row in change.partitions}
    return sum(leader in nodes for leader in leaders.values())

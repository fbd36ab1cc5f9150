"""Producer ids: given out to nodes in blocks, each id once for ever (KIP-730).

Invariants:
    PRODUCER_ID_ONCE    a block begins at or above the end of every block before it.
"""

from dataclasses import dataclass
from typing import Final

from cluster.controller.records import MetadataRecord, ProducerIdsAllocated
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, ProducerId
from model.result import Result

BLOCK: Final = 1_000
"""Ids that a node gets at once; those it does not use before it stops are lost."""
PRODUCER_ID_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class ProducerIds:
    """A block: first <= id < first + count."""

    first: ProducerId
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocateProducerIds(Request[ProducerIds]):
    """Give a node a block of ids that nobody ever had."""

    node: NodeId


def allocate_producer_ids(
    state: MetadataState, request: AllocateProducerIds, _: Circumstances
) -> Result[MetadataRecord, ProducerIds]:
    """Decide.

    Raises:
        RequestError: UNKNOWN_BROKER; LIMIT_EXCEEDED when 2**63 have been given out.
    """
    if request.node not in state.brokers:
        detail = f"broker {request.node} is not registered"
        raise RequestError(ErrorCode.UNKNOWN_BROKER, detail, node=str(request.node))
    first = state.next_producer_id
    if first > PRODUCER_ID_MAX - BLOCK:
        raise RequestError(ErrorCode.LIMIT_EXCEEDED, "all producer ids have been given out")
    record = ProducerIdsAllocated(node=request.node, first=first, count=BLOCK)
    return Result((record,), ProducerIds(first, BLOCK))


def replay_allocated(state: MetadataState, allocated: ProducerIdsAllocated) -> None:
    """Go on behind the block."""
    assert allocated.first >= state.next_producer_id, "PRODUCER_ID_ONCE"
    state.next_producer_id = ProducerId(allocated.first + allocated.count)

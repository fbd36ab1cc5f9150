"""The groups of a cluster, by name: each node tells of those that it coordinates."""

import asyncio
from typing import Final

from api.broker.broker import Broker
from api.rpc.answers import read_answer
from api.rpc.call import Call
from model.errors import ErrorCode, RequestError
from model.ids import NodeId
from tidelog.v1 import group_service_pb2

LIST: Final = "ConsumerGroupService/ListConsumerGroups"

_Request = group_service_pb2.ListConsumerGroupsRequest
_Response = group_service_pb2.ListConsumerGroupsResponse


async def groups_elsewhere(broker: Broker, request: _Request, call: Call) -> list[_Response]:
    """Return the pages of all other nodes that coordinate groups: the same page, by name.

    Raises:
        RequestError: COORDINATOR_NOT_AVAILABLE, some groups cannot be listed now; NOT_COORDINATOR,
            the client wants this node alone to answer. A list without them would say that they are
            not there.
    """
    forwarding = broker.context.forwarding
    if forwarding is None or call.brought_by is not None:
        return []
    if call.stays:
        broker.groups_state.check_leads_all()
        return []
    leaders = broker.groups_state.leaders
    if None in leaders:
        raise _incomplete("some of their partitions have no leader now")
    left_ms = call.wait_ms(None)
    payload = request.SerializeToString()

    async def ask(node: NodeId) -> _Response | RequestError:
        try:
            answer = await forwarding.call(
                node, LIST, call.principal, payload=payload, left_ms=left_ms
            )
            return read_answer(node, _Response, answer)
        except RequestError as refusal:
            return refusal

    others = sorted({node for node in leaders if node is not None} - {broker.node_id})
    answers = await asyncio.gather(*map(ask, others))
    pages: list[_Response] = []
    for node, answer in zip(others, answers, strict=True):
        if isinstance(answer, RequestError):
            raise _incomplete(f"node {node}: {answer.detail}") from answer
        pages.append(answer)
    return pages


def merged(pages: list[_Response], limit: int) -> _Response:
    """Return the first groups of several pages, by name, and where the next page begins."""
    # One that just moves from node to node may be told of by both.
    named = {group.name: group for page in reversed(pages) for group in page.groups}
    groups = sorted(named.values(), key=lambda one: one.name)
    more = len(groups) > limit or any(page.next_page_token for page in pages)
    del groups[limit:]
    return _Response(groups=groups, next_page_token=groups[-1].name if more and groups else "")


def _incomplete(why: str) -> RequestError:
    return RequestError(
        ErrorCode.COORDINATOR_NOT_AVAILABLE, f"not all groups can be listed now: {why}; ask again"
    )

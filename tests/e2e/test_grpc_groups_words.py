"""What a member cannot say: each refusal names the field."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.group_client import (
    Request,
    filled,
    joined,
)
from tests.grpc_node import GrpcNode, refusal


@pytest.mark.parametrize(
    ("join", "reason", "field"),
    [
        ({"topics": []}, "INVALID_REQUEST", "topics"),
        ({"topics": ["nothing"]}, "UNKNOWN_TOPIC", ""),
        ({"topics": ["not a name"]}, "INVALID_TOPIC_NAME", ""),
        ({"group": ""}, "INVALID_REQUEST", "group"),
        ({"session_timeout": {"nanos": 1}}, "INVALID_REQUEST", "session_timeout"),
        ({"rebalance_timeout": {"seconds": 4_000}}, "INVALID_REQUEST", "rebalance_timeout"),
        ({"resume_timeout": {"seconds": 301}}, "INVALID_REQUEST", "resume_timeout"),
        ({"resume_timeout": {"seconds": -1}}, "INVALID_REQUEST", "resume_timeout"),
        ({"start": {"edge": "EDGE_COMMITTED"}}, "INVALID_REQUEST", "join.start.edge"),
        ({"start": {"offset": 9}}, "OFFSET_OUT_OF_RANGE", ""),
        ({"credit": {"records": -1}}, "INVALID_REQUEST", "join.credit"),
        ({"isolation_level": 9}, "INVALID_REQUEST", "isolation_level"),
        ({"encoding": 9}, "INVALID_REQUEST", "encoding"),
        ({"filter": {}}, "NOT_IMPLEMENTED", "join.filter"),
        ({"instance_id": "a\nb"}, "INVALID_REQUEST", "instance_id"),
    ],
)
async def test_what_is_no_join(
    served: GrpcNode, *, join: dict[str, Any], reason: str, field: str
) -> None:
    await filled(served, 1)
    first = Request(join=Request.Join(**({"group": "billing", "topics": ["orders"]} | join)))

    async def staying() -> AsyncIterator[Request]:
        yield first
        await asyncio.Event().wait()  # who ends its requests here is told that it did not leave

    refused = await refusal(served.groups.Consume(staying()))
    assert (refused.reason, refused.info.metadata["field"]) == (reason, field)


@pytest.mark.parametrize(
    ("action", "field"),
    [
        ({}, "action"),
        ({"join": {"group": "billing"}}, "action"),
        ({"credit": {"bytes": -1}}, "credit"),
        ({"pause": {}}, "pause.partitions"),
        ({"revoked": {}}, "revoked.partitions"),
        ({"reposition": {}}, "reposition.seek"),
        ({"reposition": {"seek": {}}}, "reposition.seek"),
    ],
)
async def test_what_a_member_cannot_say(
    served: GrpcNode, action: dict[str, Any], field: str
) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders")
    await member.say(**action)
    refused = await member.refused()
    assert (refused.reason, refused.info.metadata["field"]) == ("INVALID_REQUEST", field)


async def test_the_first_message_is_join(served: GrpcNode) -> None:
    call = served.groups.Consume(iter([Request(heartbeat={})]))
    assert "first message is Join" in (await refusal(call)).text
    assert "first message is Join" in (await refusal(served.groups.Consume(iter([])))).text

"""A stream's end is told once: whoever holds its session a moment longer does no harm."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import ErrorCode, RequestError
from tests.group_client import described, joined
from tests.grpc_node import GrpcNode, grpc_node


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[GrpcNode]:
    async with grpc_node(tmp_path) as one:
        yield one


async def test_a_session_may_be_ended_after_its_member_has_left(served: GrpcNode) -> None:
    """The table that follows a group learns of the leave while the call is being closed."""
    await served.create("orders")
    member = await joined(served, "billing", "orders")
    table: Any = served.node.broker.members
    (session,) = table._sessions.values()
    table.stop()  # so that it follows the group no more: it is late
    await member.leave()
    session.end(RequestError(ErrorCode.UNKNOWN_MEMBER, "it is none any more"))
    assert not (await described(served, "billing")).members

"""What was taken from a slow member and given to it again is another hold of it (P29)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.group_client import cursor, filled, joined, offsets, seconds
from tests.turned_node import Turned, turned_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Turned]:
    async with turned_node(tmp_path) as node:
        yield node


async def test_a_commit_from_before_it_was_taken_is_refused_when_it_was_given_again(
    node: Turned,
) -> None:
    """P29: the same member, the same stream, the same partition; another hold."""
    await filled(node.served)
    slow = await joined(
        node.served, "billing", "orders", rebalance_timeout=seconds(3), session_timeout=seconds(60)
    )
    await slow.holding(0, 1)
    other = await joined(node.served, "billing", "orders", session_timeout=seconds(60))
    await slow.until("revoke")
    ((_, number),) = slow.asked
    await node.turn(3_000)
    await other.holding(number)
    await other.commit(cursor("orders", number, 5))
    await other.leave()
    await slow.holding(0, 1)
    assert slow.assigned["orders", number].offset == 5
    (late,) = await slow.commit(cursor("orders", number, 2))  # said before it heard of any of it
    assert late.error.reason == "STALE_MEMBER_EPOCH"
    assert (await offsets(node.served, "billing"))["orders", number].committed.offset == 5
    await slow.hand_over()
    (row,) = await slow.commit(cursor("orders", number, 6))
    assert not row.HasField("error")


async def test_what_is_taken_and_given_again_at_once_can_be_handed_over(node: Turned) -> None:
    """The member that was to get it has gone: it stays where it was, as another hold."""
    await filled(node.served)
    slow = await joined(
        node.served, "billing", "orders", rebalance_timeout=seconds(3), session_timeout=seconds(60)
    )
    await slow.holding(0, 1)
    other = await joined(node.served, "billing", "orders", session_timeout=seconds(60))
    await slow.until("revoke")
    ((_, number),) = slow.asked
    await other.leave()
    await node.turn(3_000)
    await slow.holding(0, 1)
    await slow.hand_over()
    (row,) = await slow.commit(cursor("orders", number, 2))
    assert not row.HasField("error")

"""A reader that has read of a later leadership than its node knows: it is asked to ask again."""

from api.broker.read_on import Diverged, Read, ReadFrom
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, Offset
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, batch_of, broker_node


async def read(node: BrokerNode, offset: int, epoch: int | None) -> Read:
    """Read on from an offset, behind a record of an epoch, in a log that ends at 1 in epoch 0."""
    orders = await node.create("orders")
    await node.produce(orders, batch_of([b"v"]))
    last = None if epoch is None else LeaderEpoch(epoch)
    place = ReadFrom(orders, Offset(offset), 1 << 20, last)
    (found,) = await node.broker.read_on(
        ANONYMOUS, [place], min_bytes=0, max_bytes=1 << 20, max_wait_ms=0
    )
    return found


async def test_a_leader_that_was_followed_does_not_say_that_records_are_gone() -> None:
    async with broker_node() as node:
        found = await read(node, 5, epoch=1)
    assert isinstance(found, RequestError)
    assert found.code is ErrorCode.UNKNOWN_EPOCH
    assert found.code.retryable
    assert found.metadata["asked_epoch"] == "1"


async def test_also_where_it_holds_as_much() -> None:
    async with broker_node() as node:
        found = await read(node, 1, epoch=1)
    assert isinstance(found, RequestError)
    assert found.code is ErrorCode.UNKNOWN_EPOCH


async def test_who_has_read_of_this_leadership_is_told_that_they_part() -> None:
    async with broker_node() as node:
        found = await read(node, 5, epoch=0)
    assert isinstance(found, Diverged)
    assert found.offset == 1

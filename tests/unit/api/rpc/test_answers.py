"""What another node answers that cannot be read is one call's refusal, and no node's end."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.broker.place import Latest
from api.broker.read_on import ReadFrom
from api.rpc.answers import check_rows, passed, read_answer
from api.rpc.call import Call
from api.rpc.details import record_error
from api.rpc.produce_elsewhere import Offered, ProduceElsewhere
from api.rpc.remote_reads import RemoteReads
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import Offset
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, broker_node
from tests.elsewhere import OTHER, Elsewhere, led_by
from tidelog.v1 import common_pb2, log_service_pb2

GARBAGE = b"\xff\xff\xff"
FEWER = b""
"""A message of any type, without rows."""


@pytest.fixture
async def node() -> AsyncIterator[BrokerNode]:
    """A node that leads nothing of `orders`; nothing may end it."""
    async with broker_node() as node:
        await led_by(node, "orders", OTHER, OTHER)
        yield node
        assert node.failures == []


def answering(node: BrokerNode, payload: bytes) -> Elsewhere:
    async def answer(*_: Any) -> bytes:
        return payload

    return Elsewhere(node, answer)


def test_an_answer_that_cannot_be_read_leaves_the_outcome_open() -> None:
    with pytest.raises(RequestError, match="node 7 answered what cannot be read") as refused:
        read_answer(OTHER, log_service_pb2.ProduceResponse, GARBAGE)
    assert refused.value.code is ErrorCode.UPSTREAM_LOST
    assert refused.value.code.outcome is Outcome.UNKNOWN
    with pytest.raises(RequestError, match="2 rows for 3") as refused:
        check_rows(OTHER, [1, 2], 3)
    assert refused.value.code is ErrorCode.UPSTREAM_LOST


@pytest.mark.parametrize("payload", [GARBAGE, FEWER])
async def test_a_batch_whose_row_is_missing_is_told_so(node: BrokerNode, payload: bytes) -> None:
    answering(node, payload)
    request = log_service_pb2.ProduceRequest()
    request.batches.add(topic="orders", partition=1)
    offered = Offered(request, log_service_pb2.ProduceResponse())
    call = Call("LogService/Produce", ANONYMOUS, None)
    elsewhere = ProduceElsewhere(node.broker, request, call, offered=offered)
    assert elsewhere.takes(0, 1)
    elsewhere.send(1_000)
    (row,) = (await offered.answer).results
    assert row.error.reason == ErrorCode.UPSTREAM_LOST.name


BATCHES = log_service_pb2.FetchResponse()
BATCHES.results.add().records.batches.add(encoded=bytes(100))
UNREADABLE_BATCHES = BATCHES.SerializeToString()


@pytest.mark.parametrize("payload", [GARBAGE, FEWER, UNREADABLE_BATCHES])
async def test_what_is_read_for_members_is_refused_so(node: BrokerNode, payload: bytes) -> None:
    remote = RemoteReads(node.broker, answering(node, payload))
    partition = node.broker.every.get("orders", 0)
    place = ReadFrom(partition, Offset(0), 1_000, None)
    (found,) = await remote.read(ANONYMOUS, [place], max_bytes=1_000)
    assert isinstance(found, RequestError)
    assert found.code is ErrorCode.UPSTREAM_LOST


@pytest.mark.parametrize("payload", [GARBAGE, FEWER])
async def test_ends_that_nobody_can_read_are_asked_for_again(
    node: BrokerNode, payload: bytes
) -> None:
    """They are asked for by the node itself: an error there would end it."""
    remote = RemoteReads(node.broker, answering(node, payload))
    partitions = [node.broker.every.get("orders", number) for number in (0, 1)]
    for found in await remote.resolve_all(ANONYMOUS, partitions, Latest()):
        assert isinstance(found, RequestError)
        assert found.code is ErrorCode.UPSTREAM_LOST


def test_a_row_that_names_a_leader_says_ask_again_and_keeps_what_else_it_says() -> None:
    moved = RequestError(ErrorCode.NOT_LEADER, "node 8 leads it", topic="orders", partition="1")
    told = passed(record_error(moved))
    assert told.reason == ErrorCode.LEADER_NOT_AVAILABLE.name
    assert (told.metadata["topic"], told.metadata["partition"]) == ("orders", "1")
    other = common_pb2.RecordError(reason="CORRUPT_LOG")
    assert passed(other) is other

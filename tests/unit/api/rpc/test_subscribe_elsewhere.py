"""A read that other nodes serve reads all that is named, or says what it cannot."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.node.system_rand import SystemRand
from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.subscribe import SubscribeCall
from api.rpc.subscribe_elsewhere import SpreadSubscribe
from cluster.controller.topics import DeleteTopic
from model.errors import ErrorCode, RequestError, StorageFailed
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, broker_node
from tests.elsewhere import OTHER, Elsewhere, led_by
from tests.world import Log
from tidelog.v1 import common_pb2, log_service_pb2

CALL = Call("LogService/Subscribe", ANONYMOUS, None)
DAMAGED = RequestError(ErrorCode.CORRUPT_LOG, "what the other node says of all that it is asked")


async def damaged(*_: Any) -> bytes:
    raise DAMAGED


async def sent(message: Any) -> None:
    raise AssertionError(f"nothing is to be told: {message}")


@pytest.fixture
async def node() -> AsyncIterator[BrokerNode]:
    """A node that leads `here`, while `orders` is led elsewhere."""
    async with broker_node() as node:
        await node.create("here")
        await led_by(node, "orders", OTHER, OTHER)
        yield node


async def refused(node: BrokerNode, request: log_service_pb2.SubscribeRequest) -> RequestError:
    guard = Guard(node.broker, rand=SystemRand(), note=Log())
    with pytest.raises(RequestError) as refusal:
        await SubscribeCall(node.broker, guard)(request, sent, CALL)
    return refusal.value


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (log_service_pb2.SubscribeRequest(topics=["orders", "ordrs"]), ErrorCode.UNKNOWN_TOPIC),
        (
            log_service_pb2.SubscribeRequest(
                topics=["here"],
                partitions=[common_pb2.TopicPartition(topic="orders", partition=99)],
            ),
            ErrorCode.UNKNOWN_PARTITION,
        ),
    ],
)
async def test_what_is_not_there_is_refused_also_beside_what_others_lead(
    node: BrokerNode, request_: log_service_pb2.SubscribeRequest, code: ErrorCode
) -> None:
    elsewhere = Elsewhere(node, damaged)
    assert (await refused(node, request_)).code is code
    assert elsewhere.asked == []


async def test_a_topic_that_another_node_has_just_made_is_read_too(
    node: BrokerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This node hears of it a moment later: it waits for that instead of leaving it out."""
    elsewhere = Elsewhere(node, damaged)

    async def read_barrier(_: Any) -> None:
        await led_by(node, "late", OTHER)

    quorum = node.broker.context.quorum
    monkeypatch.setattr(type(quorum), "read_barrier", read_barrier)
    request = log_service_pb2.SubscribeRequest(topics=["here", "late"])
    assert (await refused(node, request)).code is DAMAGED.code
    assert elsewhere.names[:1] == ["LogService/Subscribe#open"]
    (_, _, payload), *_ = elsewhere.asked
    asked = log_service_pb2.SubscribeRequest.FromString(payload)
    assert [one.topic for one in asked.partitions] == ["late"]


@pytest.mark.parametrize("gone", [["here"], ["orders"], ["here", "orders"]])
async def test_what_is_deleted_while_it_is_read_is_no_end_of_it(
    node: BrokerNode, gone: list[str]
) -> None:
    Elsewhere(node, damaged)
    request = log_service_pb2.SubscribeRequest(topics=["here", "orders"])

    async def local(*_: Any) -> None:
        return  # all of it was read

    spread = SpreadSubscribe(node.broker, request, CALL, local=local)
    for name in gone:
        await node.broker.context.quorum.propose(DeleteTopic(name=name))
    with pytest.raises(RequestError) as refusal:
        await spread.run(sent)
    assert refusal.value.code is ErrorCode.UNKNOWN_TOPIC
    assert refusal.value.metadata["topic"] in gone


async def test_a_disk_that_fails_is_told_as_what_it_is(node: BrokerNode) -> None:
    Elsewhere(node, damaged)

    async def local(*_: Any) -> None:
        raise StorageFailed("here", 5, "read")

    request = log_service_pb2.SubscribeRequest(topics=["here"])
    with pytest.raises(RequestError) as refusal:
        await SpreadSubscribe(node.broker, request, CALL, local=local).run(sent)
    assert refusal.value.code is ErrorCode.STORAGE_ERROR

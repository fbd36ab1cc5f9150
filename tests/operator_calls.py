"""What an operator asks of one of several nodes in this process, as clients' calls."""

from typing import Any

import pytest

from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.handlers import Unary
from api.rpc.server import handlers_of
from model.errors import RequestError
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes
from tidelog.v1 import cluster_service_pb2 as wire
from tidelog.v1 import common_pb2

TOPIC = "orders"


def handlers(life: Life) -> dict[str, Any]:
    guard = Guard(life.node.broker, rand=life.context.rand, note=life.context.note)
    return handlers_of(life.node.broker, guard)


async def called(nodes: Nodes, life: Life, name: str, *request: Any) -> Any:
    """Return a node's answer to a client."""
    handler = handlers(life)[f"ClusterService/{name}"]
    assert isinstance(handler, Unary)
    return await nodes.done(handler.serve(request[0], Call(name, ANONYMOUS, 10_000)))


async def refused(nodes: Nodes, life: Life, name: str, *request: Any) -> RequestError:
    with pytest.raises(RequestError) as error:
        await called(nodes, life, name, *request)
    return error.value


async def cluster(nodes: Nodes, at: int) -> wire.Cluster:
    answer = await called(nodes, nodes.lives[at], "GetCluster", wire.GetClusterRequest())
    found: wire.Cluster = answer.cluster
    return found


async def becomes(nodes: Nodes, at: int, status: int) -> wire.Cluster:
    """Ask until the health is so; return the map."""
    while (found := await cluster(nodes, at)).health.status != status:
        await nodes.pass_by(100)
    return found


def place(number: int = 0) -> common_pb2.TopicPartition:
    return common_pb2.TopicPartition(topic=TOPIC, partition=number)

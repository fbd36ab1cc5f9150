"""Who watches three nodes is told the map, and then what changes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.rpc.call import Call
from api.rpc.handlers import ServerStream
from cluster.controller.topics import DeleteTopic
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes
from tests.operator_calls import TOPIC, handlers
from tidelog.v1 import cluster_service_pb2 as wire

Broker = wire.Broker


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


class Watcher:
    """A client that watches; what it was told."""

    def __init__(self, life: Life, *topics: str) -> None:
        handler = handlers(life)["ClusterService/WatchCluster"]
        assert isinstance(handler, ServerStream)
        self.told: list[wire.WatchClusterResponse] = []
        request = wire.WatchClusterRequest(topics=topics)
        call = Call("ClusterService/WatchCluster", ANONYMOUS, None)
        self.task = asyncio.ensure_future(handler.serve(request, self._send, call))

    async def _send(self, message: wire.WatchClusterResponse) -> None:
        self.told.append(wire.WatchClusterResponse.FromString(message.SerializeToString()))

    def leader(self, topic: str, number: int = 0) -> int | None:
        """Return who leads, by what was told last."""
        for message in reversed(self.told):
            for one in message.topics:
                if one.name == topic:
                    row = one.partitions[number]
                    return row.leader_id if row.HasField("leader_id") else None
        return None

    @property
    def states(self) -> dict[int, int]:
        """Return the nodes' states, by what was told last."""
        maps = [message.cluster for message in self.told if message.HasField("cluster")]
        return {one.id: one.state for one in maps[-1].brokers} if maps else {}


async def test_who_watches_is_told_the_map_and_then_what_changes(nodes: Nodes) -> None:
    watcher = Watcher(nodes.lives[1])
    await nodes.until(lambda: len(watcher.states) == 3)
    assert watcher.told[0].HasField("cluster")
    await nodes.create(2, TOPIC)
    await nodes.until(lambda: watcher.leader(TOPIC) is not None)
    led = nodes.row(TOPIC).leader
    assert watcher.leader(TOPIC) == led
    victim = 2 if led == 2 else 3
    await nodes.kill(victim)
    await nodes.until(lambda: watcher.states.get(victim) == Broker.STATE_FENCED)
    await nodes.until(lambda: watcher.leader(TOPIC) not in {None, victim})
    watcher.task.cancel()


async def test_who_watches_hears_something_every_five_seconds(nodes: Nodes) -> None:
    watcher = Watcher(nodes.lives[1], TOPIC)
    await nodes.until(lambda: bool(watcher.told))
    await nodes.pass_by(10_000)
    before = len(watcher.told)
    await nodes.pass_by(6_000)
    quiet = watcher.told[before:]
    assert quiet
    assert not any(message.HasField("cluster") or message.topics for message in quiet)
    assert not any(message.topics for message in watcher.told), "only what was asked for"
    watcher.task.cancel()


async def test_a_topic_that_is_deleted_is_told_once(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC)
    watcher = Watcher(nodes.lives[3])
    await nodes.until(lambda: watcher.leader(TOPIC) is not None)
    broker = nodes.lives[1].node.broker
    await nodes.done(broker.delete_topics(ANONYMOUS, [DeleteTopic(name=TOPIC)]))
    await nodes.until(lambda: any(message.deleted_topics for message in watcher.told))
    await nodes.pass_by(3_000)
    gone = [name for message in watcher.told for name in message.deleted_topics]
    assert gone == [TOPIC]
    watcher.task.cancel()

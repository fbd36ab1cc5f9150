"""Any bytes as Kafka requests of every key and version to a real node: parsed, done and answered.

The first two bytes choose key and version. No handler may raise, and nothing that the node runs may
end; a request that waits is taken back when its client goes. A node serves a bounded number of
inputs, since topics and records add up; then the next one takes its place.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from api.kafka.apis import served_apis
from api.kafka.connection import Door, KafkaConnection
from api.kafka.counters import KafkaCounters
from api.kafka.k00_produce import KEY as PRODUCE
from api.kafka.k01_fetch import KEY as FETCH
from api.kafka.request import Api
from api.kafka.schema import request_codec
from api.kafka_settings import KafkaSettings
from api.node.system_spawn import SystemSpawn
from tests.broker_node import batch_of, broker_node
from tests.fuzz import fuzz_kafka_request
from tests.kafka_door import Log, Nobody, answers, request
from tests.wire_transport import RecordingTransport

BASE_NS: Final = 60_000_000
"""Of a request that makes topics, or of the next node's start."""
READS: Final = 4
INPUTS: Final = 2_000
"""Of one node."""
TURNS: Final = 12
"""Of the loop: a round to the disk and its answer."""
SETTINGS: Final = KafkaSettings(request_bytes_max=1 << 18)
APIS: Final = served_apis(SETTINGS)
KEYS: Final = sorted(APIS)
TOPIC: Final = "orders"


class _Node:
    """A node, and the door that fuzzed clients come through."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.inputs = 0
        self._stack = AsyncExitStack()
        self.loop.run_until_complete(self._start())

    async def _start(self) -> None:
        running = await self._stack.enter_async_context(broker_node())
        self.running = running
        partition = await running.create(TOPIC)
        await running.produce(partition, batch_of([b"one", b"two"]))
        running.broker.advertise("external", "broker.example", 9092)
        self.door = Door(
            name="external", broker=running.broker, apis=APIS, settings=SETTINGS,
            counters=KafkaCounters(), tick=running.node.tick, memory=running.node.memory,
            room=running.node.room, answers=running.node.answers,
            spawn=SystemSpawn(running.failures.append), note=Log(),
        )  # fmt: skip

    def serve(self, frames: bytes) -> bytes:
        """Return what a client that sends these bytes was answered before it went."""
        return self.loop.run_until_complete(self._serve(frames))

    async def _serve(self, frames: bytes) -> bytes:
        transport = RecordingTransport(KafkaConnection(self.door, Nobody()))
        transport.feed(frames)
        for _ in range(TURNS):
            turn = self.loop.create_future()
            self.loop.call_soon(turn.set_result, None)
            await turn
        transport.lose()
        return b"".join(transport.writes)

    def close(self) -> None:
        """Stop the node."""
        self.loop.run_until_complete(self._stack.aclose())
        self.loop.close()


_nodes: list[_Node] = []


def _node() -> _Node:
    """Return the node that serves now."""
    if _nodes and _nodes[0].inputs >= INPUTS:
        _nodes.pop().close()
    if not _nodes:
        _nodes.append(_Node())
    _nodes[0].inputs += 1
    return _nodes[0]


def samples() -> list[bytes]:
    """Return what the parsers' target has, and a produce and a fetch of the topic that is there."""
    found = [
        bytes([KEYS.index(fuzz_kafka_request.APIS[one[0]].key)]) + one[1:2] + one[3:]
        for one in fuzz_kafka_request.samples()
    ]
    produce = {"index": 0, "records": batch_of([b"three"])}
    topic = {"name": TOPIC, "partition_data": [produce]}
    found.append(
        _sample(PRODUCE, 9, transactional_id=None, acks=-1, timeout=1_000, topic_data=[topic])
    )
    partition = {
        "partition": 0, "current_leader_epoch": -1, "fetch_offset": 0, "log_start_offset": -1,
        "partition_max_bytes": 1 << 16,
    }  # fmt: skip
    wanted = {"topic": TOPIC, "partitions": [partition]}
    fetch = {
        "replica_id": -1, "max_wait": 0, "min_bytes": 0, "max_bytes": 1 << 16,
        "isolation_level": 0, "session_id": 0, "session_epoch": -1, "topics": [wanted],
        "forgotten_topics_data": [], "rack_id": "",
    }  # fmt: skip
    found.append(_sample(FETCH, 11, **fetch))
    return found


def _sample(key: int, version: int, **fields: object) -> bytes:
    chosen = bytes([KEYS.index(key), version - APIS[key].version_min])
    return chosen + request_codec(key, version).write(fields)


def fuzz(data: bytes) -> None:
    """Send the input as one request, and an innocent one behind it on a connection of its own."""
    if len(data) < 2:
        return
    api: Api = APIS[KEYS[data[0] % len(KEYS)]]
    version = api.version_min + data[1] % (api.version_max - api.version_min + 1)
    node = _node()
    try:
        tagged = version >= api.flexible_from
        raw = node.serve(request(api.key, version, 7, data[2:], tagged=tagged))
        assert len(answers(raw)) <= 1, "more answers than requests"
        innocent = node.serve(request(18, 0, 8))
        assert [number for number, _ in answers(innocent)] == [8], "the next client is not answered"
        assert not node.running.failures, node.running.failures
    except BaseException:
        _nodes.clear()  # what comes next is not to suffer from it
        raise

"""Answers of calls that are no streams, and whose clients read nothing: counted, and bounded (P53).

gRPC has such an answer whole, and keeps it until its client has room for it.
"""

import gc
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from grpc import StatusCode

from api.broker import answer_room
from api.rpc import until_sent
from model.limits import CALL_ITEMS_MAX, MIB, STREAMS_PER_CONNECTION_MAX
from tests.broker_node import batch_of
from tests.grpc_node import GrpcNode, encoded, grpc_node, refusal
from tests.grpc_reading import END, Fetch
from tests.narrow_peer import narrow_peer
from tests.world import MEMORY_BYTES
from tidelog.v1 import common_pb2, log_service_pb2

FETCH = "LogService/Fetch"
ORDERS = common_pb2.Cursor(topic="orders")
STORED = Fetch(cursors=[ORDERS], encoding=common_pb2.ENCODING_BATCH, partition_max_bytes=3 * MIB)
MANY = 400


async def stored(served: GrpcNode, *sizes: int) -> None:
    await served.create("orders", max__message__bytes=str(3 * MIB))
    for size in sizes:
        await served.produce("orders", encoded(batch_of([b"x" * size])))


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("end", ["takes", "cancels", "hangs up"])
async def test_an_answer_is_counted_until_its_client_has_room_for_all_of_it(
    served: GrpcNode, end: str
) -> None:
    await stored(served, 500_000)
    answers = served.node.answers
    async with narrow_peer(served.address) as peer:
        stream = peer.call(FETCH, STORED)
        while not answers.taken_bytes:
            await served.turn()
        for _ in range(50):
            await served.turn()
            assert answers.taken_bytes > 2 * 500_000
        if end == "takes":
            peer.widen(1_000_000)
            assert await peer.reader.readexactly(500_000)
        elif end == "cancels":
            peer.cancel(stream)
        else:
            await peer.close()
        while answers.taken_bytes:
            await served.turn()


async def test_answers_that_nobody_reads_share_one_bound(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 of 3 MiB: those for which there is no room are shed, and are not in memory."""
    monkeypatch.setattr(answer_room, "WAIT_S_MAX", 0.05)
    await stored(served, MIB, MIB, MIB - 1_000)
    answers, counters = served.node.answers, served.door.counters
    refused, calls, before = counters.refused, counters.calls, resident_bytes()
    limit = answers.taken_bytes + answers.free_bytes
    fit = limit // (6 * MIB)
    async with AsyncExitStack() as peers:
        for _ in range(MANY // STREAMS_PER_CONNECTION_MAX.value):
            peer = await peers.enter_async_context(narrow_peer(served.address))
            for _ in range(STREAMS_PER_CONNECTION_MAX.value):
                peer.call(FETCH, STORED)
        turns = 0
        while counters.calls - calls - turns < MANY or counters.running:
            await served.turn()
            turns += 1
            assert answers.taken_bytes <= limit
        assert counters.refused - refused == MANY - fit
        assert answers.taken_bytes == pytest.approx(fit * 6 * MIB, rel=0.01)
        assert resident_bytes() - before < 2 * MEMORY_BYTES
        found = await refusal(served.logs.Fetch(STORED))
        assert (found.code, found.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    while answers.taken_bytes:
        await served.turn()
    (row,) = (await served.logs.Fetch(STORED)).results
    assert row.records.next.offset == 3


async def test_what_was_read_keeps_its_room_though_others_wait_for_it(served: GrpcNode) -> None:
    await stored(served, MIB, MIB, MIB - 1_000)
    answers, taken = served.node.answers, list[int]()
    limit = answers.taken_bytes + answers.free_bytes

    def take_more() -> None:
        taken.append(max(0, limit * 7 // 10 - answers.taken_bytes))
        answers.take(taken[-1])
        answers.when_relieved(take_more)

    answers.when_relieved(take_more)
    (row,) = (await served.logs.Fetch(STORED)).results
    assert row.records.next.offset == 3
    answers.forget(take_more)
    assert sum(taken) > limit // 4
    answers.give_back(sum(taken))
    while answers.taken_bytes:
        await served.turn()


async def test_a_large_answer_of_any_call_needs_room_unless_it_tells_what_was_done(
    served: GrpcNode,
) -> None:
    answers = served.node.answers
    rows = CALL_ITEMS_MAX.value
    asked = [common_pb2.TopicPartition(topic="none", partition=at) for at in range(rows)]
    resolve = log_service_pb2.ResolveOffsetsRequest(partitions=asked, seek=END)
    batches = [
        log_service_pb2.ProduceBatch(topic="none", records=[common_pb2.Record()])
        for _ in range(rows)
    ]
    with answers.held(1 << 40):
        found = await refusal(served.logs.ResolveOffsets(resolve))
        assert (found.reason, found.info.metadata["outcome"]) == ("OVERLOADED", "NOT_DONE")
        few = log_service_pb2.ResolveOffsetsRequest(partitions=asked[:10], seek=END)
        assert len((await served.logs.ResolveOffsets(few)).resolved) == 10
        produced = await served.logs.Produce(log_service_pb2.ProduceRequest(batches=batches))
        assert len(produced.results) == rows
    assert len((await served.logs.ResolveOffsets(resolve)).resolved) == rows
    while answers.taken_bytes:
        await served.turn()


async def test_a_large_answer_that_nobody_reads_is_counted_like_any_other(
    served: GrpcNode,
) -> None:
    name, partitions = "a" * 249, 300
    await served.create(name, partitions)
    answers = served.node.answers
    request = log_service_pb2.ResolveOffsetsRequest(topics=[name], seek=END)
    size = (await served.logs.ResolveOffsets(request)).ByteSize()  # times in it have their length
    assert size > until_sent.LARGE_BYTES
    while answers.taken_bytes:
        await served.turn()
    async with narrow_peer(served.address) as peer:
        peer.call("LogService/ResolveOffsets", request)
        while not answers.taken_bytes:
            await served.turn()
        for _ in range(20):
            await served.turn()
            assert answers.taken_bytes == pytest.approx(2 * size, rel=0.1)
    while answers.taken_bytes:
        await served.turn()


async def test_a_node_stops_though_an_answer_is_not_read(tmp_path: Path) -> None:
    async with AsyncExitStack() as peers:
        async with grpc_node(tmp_path) as served:
            await stored(served, 500_000)
            peer = await peers.enter_async_context(narrow_peer(served.address))
            peer.call(FETCH, STORED)
            answers = served.node.answers
            while not answers.taken_bytes:
                await served.turn()
        assert answers.taken_bytes == 0

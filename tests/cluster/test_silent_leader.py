"""A leader that takes calls and never answers costs its own rows, and in time (P52)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cluster.peer.forward import Forward
from model.ids import NodeId
from tests.cluster.test_any_node import PARTITIONS, TOPIC, batches, called, cursors, values
from tests.cluster_nodes import Nodes
from tidelog.v1 import common_pb2, log_service_pb2, topic_service_pb2

LEFT_MS = 10_000
"""What `called` gives a call."""
SILENT = 3


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    """Three nodes that lead two partitions each, with a record in every one; one goes silent."""
    made = Nodes(3)
    try:
        await made.start()
        await made.create(1, TOPIC, partitions=PARTITIONS)
        for number in range(PARTITIONS):
            await made.leader(TOPIC, number)
        wanted = [(number, b"%d" % number) for number in range(PARTITIONS)]
        await called(made, made.lives[1], "LogService/Produce", batches(*wanted))

        async def never(_: NodeId, __: Forward) -> bytes:
            return await asyncio.Future[bytes]()

        forwarding = made.lives[SILENT].context.forwarding
        assert forwarding is not None
        forwarding.serve(never, lambda _: None)
        yield made
    finally:
        await made.close()


async def asked(nodes: Nodes, name: str, request: Any) -> tuple[Any, int]:
    """Return an answer of node 1, and how long it took."""
    began = nodes.net.clock.monotonic_ms()
    answer = await called(nodes, nodes.lives[1], name, request)
    return answer, nodes.net.clock.monotonic_ms() - began


def leads(nodes: Nodes, number: int) -> bool:
    """Tell whether it is the silent one."""
    return nodes.row(TOPIC, number, at=1).leader == SILENT


def check(nodes: Nodes, rows: list[Any]) -> None:
    """Every row but those of the silent one is told, and these say why not."""
    assert {leads(nodes, number) for number in range(PARTITIONS)} == {True, False}
    for number, row in enumerate(rows):
        reason = row.error.reason if row.HasField("error") else ""
        assert reason == ("REQUEST_TIMED_OUT" if leads(nodes, number) else "")


async def test_a_fetch_gives_what_the_others_have(nodes: Nodes) -> None:
    request = cursors(*[0] * PARTITIONS, wait_ms=8_000)
    answer, took_ms = await asked(nodes, "LogService/Fetch", request)
    check(nodes, list(answer.results))
    told = [values(row) for number, row in enumerate(answer.results) if not leads(nodes, number)]
    assert told == [[b"%d" % number] for number in range(PARTITIONS) if not leads(nodes, number)]
    assert took_ms <= 2_000


async def test_a_time_lookup_tells_what_the_others_say(nodes: Nodes) -> None:
    seek = common_pb2.Seek(edge=common_pb2.EDGE_LATEST)
    request = log_service_pb2.ResolveOffsetsRequest(topics=[TOPIC], seek=seek)
    answer, took_ms = await asked(nodes, "LogService/ResolveOffsets", request)
    rows = sorted(answer.resolved, key=lambda row: row.partition.partition)
    check(nodes, rows)
    assert all(row.high_watermark == 1 for row in rows if not row.HasField("error"))
    assert took_ms < LEFT_MS


async def test_a_trim_tells_what_the_others_did(nodes: Nodes) -> None:
    before = common_pb2.Seek(edge=common_pb2.EDGE_LATEST)
    request = topic_service_pb2.TrimTopicRequest(name=TOPIC, before=before)
    answer, took_ms = await asked(nodes, "TopicService/TrimTopic", request)
    rows = sorted(answer.trimmed, key=lambda row: row.partition)
    check(nodes, rows)
    assert all(row.after == 1 for row in rows if not row.HasField("error"))
    assert took_ms < LEFT_MS

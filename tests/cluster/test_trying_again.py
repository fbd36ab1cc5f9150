"""What clients of these tests try again has an end, and says how it was refused."""

from collections.abc import AsyncIterator
from typing import Final

import pytest

from tests import cluster_members
from tests.cluster_members import ready
from tests.cluster_nodes import Nodes, three
from tidelog.v1 import group_service_pb2

TOPIC: Final = "orders"
COMMIT: Final = "ConsumerGroupService/CommitOffsets"


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with three(TOPIC) as made:
        yield made


async def test_what_never_ends_is_given_up_with_the_last_refusal(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_members, "RETRIED_MS_MAX", 12_000)
    request = group_service_pb2.CommitOffsetsRequest(group="g")
    request.cursors.add(topic=TOPIC, partition=0, offset=0)
    await ready(nodes, nodes.lives[1], COMMIT, request)
    for number in (2, 3):
        await nodes.kill(number, power=True)
    request.group = "h"
    began = nodes.net.clock.monotonic_ms()
    with pytest.raises(AssertionError, match=rf"{COMMIT} is still refused .* tries: [A-Z_]+: "):
        await ready(nodes, nodes.lives[1], COMMIT, request)
    assert 12_000 <= nodes.net.clock.monotonic_ms() - began < 30_000


async def test_what_is_refused_for_good_is_not_tried_again(nodes: Nodes) -> None:
    request = group_service_pb2.CommitOffsetsRequest(group="")
    request.cursors.add(topic=TOPIC, partition=0, offset=0)
    with pytest.raises(AssertionError, match=f"{COMMIT}: "):
        await ready(nodes, nodes.lives[1], COMMIT, request)

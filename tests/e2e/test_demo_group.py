"""The demo's group does what it says, and says when a record is missing."""

import asyncio
from datetime import UTC, datetime

import tidelog
from api.cli.demo_group import GroupStory
from tests.grpc_node import GrpcNode


async def test_two_members_one_killed_and_the_group_sent_back(served: GrpcNode) -> None:
    url, said = f"tidelog://{served.target}", list[str]()
    async with tidelog.connect(url) as client:
        await client.topics.create("flights", partitions=3)
        async with client.producer() as p:
            values = [f"{number}".encode() for number in range(3_000)]
            acks = await p.send_many("flights", values, key=lambda value: value)
    newest = max(ack.append_time for ack in acks if ack.append_time is not None)
    now = asyncio.get_running_loop().time
    story = GroupStory(url, "flights", said.append, now, tail=500, killed_after=100)
    assert await story.tell(newest), said
    assert "two members, one killed: all 1500 records came" in said[0]
    assert "the other member has taken over 3 of 3 partitions" in said[0]
    assert "exactly the plan" in said[1]
    assert said[2] == "demo: group departures has caught up: lag 0\n"
    story = GroupStory(url, "flights", said.append, now, tail=500, killed_after=100)
    assert await story.tell(newest), said  # again, where it has been told before


async def test_a_demo_that_does_not_come_to_its_end_says_so(served: GrpcNode) -> None:
    url, said = f"tidelog://{served.target}", list[str]()
    async with tidelog.connect(url) as client:
        await client.topics.create("flights")
    now = asyncio.get_running_loop().time
    story = GroupStory(url, "flights", said.append, now, patience_s=0.5)
    assert not await story.tell(datetime(2026, 1, 1, tzinfo=UTC))  # nobody writes anything
    assert said == ["demo: group departures: NOT done in 0.5 s, 0 records came\n"]

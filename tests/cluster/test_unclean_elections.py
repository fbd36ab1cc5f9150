"""The one command that loses records: what it asks for, tells, counts, and what readers hear."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.node.log_events import EVENTS
from api.rpc.call import Call
from api.rpc.handlers import Unary
from api.settings import LogLevel
from cluster.controller.image import TopicImage
from cluster.controller.topics import CreateTopic
from model.errors import ErrorCode, Outcome
from model.ids import NodeId
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes
from tests.operator_calls import TOPIC, becomes, called, handlers, place, refused
from tidelog.v1 import cluster_service_pb2 as wire
from tidelog.v1 import common_pb2, log_service_pb2

Health = wire.Health


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def waits_for_one(nodes: Nodes) -> None:
    """Make `orders` wait for node 1, which alone has the second record; node 2 has the first.

    Node 3 has no replica: it is there for the quorum.
    """
    request = CreateTopic(
        name=TOPIC,
        assignments=((NodeId(1), NodeId(2)),),
        config={"min.insync.replicas": "1"},
    )
    (made,) = await nodes.done(nodes.lives[3].node.broker.create_topics(ANONYMOUS, [request]))
    assert isinstance(made, TopicImage), made
    await nodes.until(lambda: all(TOPIC in life.image.topics for life in nodes.lives.values()))
    await nodes.in_sync(TOPIC, 2)
    leader = await nodes.leader(TOPIC)
    assert leader.number == 1
    await nodes.produce(leader, TOPIC, b"on both")
    await nodes.until(lambda: nodes.lives[2].hosted(TOPIC).high_watermark == 1)
    await nodes.kill(2)
    await nodes.until(lambda: nodes.row(TOPIC, at=1).isr == (1,))
    await nodes.produce(await nodes.leader(TOPIC), TOPIC, b"on node 1 only")
    await nodes.kill(1)
    await nodes.start(2)
    await nodes.until(lambda: nodes.row(TOPIC, at=3).leader is None)


def election(replica: int, *, dry_run: bool = False) -> wire.ElectUncleanLeaderRequest:
    return wire.ElectUncleanLeaderRequest(
        partition=place(), replica_id=replica, validate_only=dry_run
    )


async def fetched(nodes: Nodes, life: Life, offset: int, *, epoch: int) -> Any:
    handler = handlers(life)["LogService/Fetch"]
    assert isinstance(handler, Unary)
    request = log_service_pb2.FetchRequest(encoding=common_pb2.ENCODING_RECORDS)
    request.cursors.add(topic=TOPIC, partition=0, offset=offset, leader_epoch=epoch)
    call = Call("LogService/Fetch", ANONYMOUS, 10_000)
    answer: Any = await nodes.done(handler.serve(request, call))
    return answer.results[0]


async def test_a_partition_that_waits_says_for_whom_and_what_would_help(nodes: Nodes) -> None:
    await waits_for_one(nodes)
    found = await becomes(nodes, 3, Health.STATUS_UNHEALTHY)
    (told,) = [one for one in found.health.reasons if "no leader" in one]
    assert told == (
        "orders/0 has no leader: waiting for node 1 to come back; if that never comes, go on "
        "without what is lost: tidelog partition elect --unclean orders/0 --replica 2"
    )
    assert [(one.topic, one.partition) for one in found.health.leaderless] == [(TOPIC, 0)]


@pytest.mark.parametrize("at", [2, 3])
async def test_an_unclean_election_is_asked_for_told_counted_and_logged(
    nodes: Nodes, at: int
) -> None:
    """P14: only by an explicit command, at the highest level of the log, with a visible counter."""
    await waits_for_one(nodes)
    life, chosen = nodes.lives[at], nodes.lives[2]
    epoch = nodes.row(TOPIC, at=3).leader_epoch
    looked = await called(nodes, life, "ElectUncleanLeader", election(2, dry_run=True))
    assert (looked.leader_epoch, looked.log_end_offset) == (epoch + 1, 1)
    assert not looked.HasField("last_high_watermark"), "it has restarted, and remembers none"
    await nodes.pass_by(2_000)
    assert nodes.row(TOPIC, at=3).leader is None, "a dry run changes nothing"
    assert chosen.node.broker.lossy_elections.count == 0
    done = await called(nodes, life, "ElectUncleanLeader", election(2))
    assert (done.leader_epoch, done.log_end_offset) == (epoch + 1, 1)
    await nodes.until(lambda: nodes.leading(TOPIC) is chosen)
    assert chosen.node.broker.lossy_elections.count == 1
    assert nodes.lives[3].node.broker.lossy_elections.count == 0
    said = [fields for event, fields in chosen.lines if event == "unclean_election"]
    assert said == [{"topic": TOPIC, "partition": 0, "leader_epoch": epoch + 1}]
    asked = [fields for event, fields in chosen.lines if event == "unclean_election_asked"]
    assert [(one["partition"], one["leader"]) for one in asked] == [(0, 2)]
    assert EVENTS["unclean_election"].level is EVENTS["unclean_election_asked"].level
    assert EVENTS["unclean_election"].level is max(LogLevel, key=list(LogLevel).index)


async def test_readers_of_what_is_lost_are_told_and_so_is_the_old_leader(nodes: Nodes) -> None:
    """P14: consumers get an explicit truncation error, never other records in silence."""
    await waits_for_one(nodes)
    epoch = nodes.row(TOPIC, at=3).leader_epoch
    await called(nodes, nodes.lives[3], "ElectUncleanLeader", election(2))
    await nodes.until(lambda: nodes.leading(TOPIC) is nodes.lives[2])
    await nodes.produce(nodes.lives[2], TOPIC, b"instead")
    row = await fetched(nodes, nodes.lives[2], 2, epoch=epoch)
    assert row.WhichOneof("result") == "diverged", row
    assert row.diverged.offset == 1
    await nodes.start(1)
    await nodes.in_sync(TOPIC, 2)
    assert nodes.lives[1].stored(TOPIC) == nodes.lives[2].stored(TOPIC)
    assert nodes.lives[1].node.broker.lossy_elections.count == 0
    assert nodes.lives[2].node.broker.lossy_elections.count == 1, "not told again"


async def test_what_a_leader_has_is_not_elected_away(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC, replicas=2)
    leader = await nodes.leader(TOPIC)
    other = next(node for node in nodes.row(TOPIC).replicas if node != leader.number)
    no = await refused(nodes, nodes.lives[1], "ElectUncleanLeader", election(other))
    assert no.code is ErrorCode.POLICY_VIOLATION
    assert no.metadata["leader"] == str(leader.number)


async def test_only_a_replica_that_runs_is_elected(nodes: Nodes) -> None:
    await waits_for_one(nodes)
    for node in (1, 3, 9):
        no = await refused(nodes, nodes.lives[3], "ElectUncleanLeader", election(node))
        assert no.code is ErrorCode.NO_ELIGIBLE_LEADER
        assert no.code.outcome is Outcome.NOT_DONE
        assert "these could: 2" in no.detail

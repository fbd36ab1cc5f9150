"""What is proposed on any node: taken to the leader, read back where it was asked."""

from asyncio import Task, get_running_loop
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.group_config import AlterGroupConfig
from cluster.controller.image import Standing
from cluster.controller.leadership import ElectPreferred, TransferLeader
from cluster.controller.partitions import AddPartitions
from cluster.controller.producer_ids import AllocateProducerIds, ProducerIds
from cluster.controller.standing import RemoveBroker
from cluster.controller.topics import CreateTopic, DeleteTopic, TopicRemoved
from cluster.peer.hello import Hello
from cluster.peer.table import Family, Frame
from cluster.shell.peer_answer import Answer
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import GroupId, MonotonicMs, NodeId, ProducerId, TopicName
from tests.controller_world import Node, World

ORDERS = TopicName("orders")


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


def create(name: str = "orders", **more: Any) -> CreateTopic:
    return CreateTopic(name=name, partitions=1, replication_factor=3, **more)


def hears_late(world: World, node: Node, ms: int) -> None:
    """Let a node's member of the quorum hear so much later what it is told; its calls do not."""
    hear, clock = node.links._handlers[Family.RAFT], world.net.clock

    def later(peer: Hello, frame: Frame, answer: Answer | None) -> None:
        kept = frame._replace(body=memoryview(bytes(frame.body)))
        when = MonotonicMs(clock.monotonic_ms() + ms)
        clock.call_at(when, lambda: hear(peer, kept, answer))

    node.links._handlers[Family.RAFT] = later


@pytest.mark.parametrize("late_ms", [0, 200])
async def test_a_caller_on_any_node_reads_what_it_has_written(world: World, late_ms: int) -> None:
    """Also where the entry comes long after the answer: the answer waits for it."""
    active = await world.formed(1, 2, 3)
    for node in world.others(active) if late_ms else ():
        hears_late(world, node, late_ms)
    for node in (active, *world.others(active)):
        quorum, name = node.at_work.quorum, f"t{node.node}"
        topic = await world.done(quorum.propose(create(name, config={"retention.ms": "9"})))
        assert quorum.image.topics[TopicName(name)] == topic
        altered = AlterTopicConfig(name=name, set={"retention.ms": "8"}, etag=topic.etag)
        topic = await world.done(quorum.propose(altered))
        assert quorum.image.topics[TopicName(name)] == topic
        grown = await world.done(quorum.propose(AddPartitions(name=name, partitions=4)))
        assert len(quorum.image.topics[TopicName(name)].partitions) == 4 == len(grown.partitions)
        config = await world.done(
            quorum.propose(AlterGroupConfig(group=GroupId(name), set={"history.keep": "1d"}))
        )
        assert quorum.image.group_configs[GroupId(name)] == config == {"history.keep": "1d"}
        led = grown.partitions[0]
        row = await world.done(
            quorum.propose(TransferLeader(topic=name, number=0, to=led.replicas[1]))
        )
        assert quorum.image.topics[TopicName(name)].partitions[0] == row
        assert row.leader == led.replicas[1]
        assert await world.done(quorum.propose(ElectPreferred())) == 1
        gone = await world.done(quorum.propose(DeleteTopic(name=name)))
        for holder in sorted(quorum.image.deleted[gone.topic_id]):
            assert gone.topic_id in quorum.image.deleted
            await world.done(quorum.propose(TopicRemoved(topic_id=gone.topic_id, node=holder)))
        assert gone.topic_id not in quorum.image.deleted


async def test_producer_ids_are_given_out_once_whoever_asks(world: World) -> None:
    await world.formed(1, 2, 3)
    blocks = [
        await world.done(node.at_work.quorum.propose(AllocateProducerIds(node=node.node)))
        for node in world.nodes.values()
    ]
    assert sorted(one.first for one in blocks) == [0, 1_000, 2_000]
    assert ProducerIds(ProducerId(0), 1_000) in blocks


async def test_what_is_only_looked_at_changes_nothing(world: World) -> None:
    active = await world.formed(1, 2, 3)
    quorum = world.others(active)[0].at_work.quorum
    topic = await world.done(quorum.propose(create(validate_only=True)))
    assert (topic.name, len(topic.partitions)) == (ORDERS, 1)
    assert not quorum.image.topics


async def test_a_refusal_is_the_leaders_own(world: World) -> None:
    active = await world.formed(1, 2, 3)
    quorum = world.others(active)[0].at_work.quorum
    await world.done(quorum.propose(create()))
    error = await world.refused(quorum.propose(create()))
    assert (error.code, error.metadata["topic"]) == (ErrorCode.TOPIC_ALREADY_EXISTS, "orders")
    error = await world.refused(quorum.propose(RemoveBroker(node=NodeId(9))))
    assert error.code is ErrorCode.UNKNOWN_BROKER


async def test_what_fits_no_frame_is_refused_here_and_not_done(world: World) -> None:
    active = await world.formed(1, 2, 3)
    quorum = world.others(active)[0].at_work.quorum
    error = await world.refused(quorum.propose(create(config={"x": "y" * 70_000})))
    assert (error.code, error.code.outcome) == (ErrorCode.INVALID_REQUEST, Outcome.NOT_DONE)


async def test_without_a_leader_it_is_not_done_after_a_second(world: World) -> None:
    active = await world.formed(1, 2, 3)
    left = world.others(active)[0]
    for node in world.others(left):
        await node.kill()
    await world.after(2_000)
    before = world.net.clock.monotonic_ms()
    error = await world.refused(left.at_work.quorum.propose(create()))
    assert (error.code, error.code.outcome) == (ErrorCode.NO_QUORUM, Outcome.NOT_DONE)
    assert 900 <= world.net.clock.monotonic_ms() - before <= 1_200


async def test_a_leader_that_has_just_died_is_waited_for(world: World) -> None:
    active = await world.formed(1, 2, 3)
    asker = world.others(active)[0]
    await active.kill()  # its link is reset: nothing leaves, so it may be asked again
    topic = await world.done(asker.at_work.quorum.propose(create()))
    assert asker.quorum.image.topics[ORDERS] == topic


async def test_a_leader_that_is_lost_with_the_call_leaves_it_unknown(world: World) -> None:
    active = await world.formed(1, 2, 3)
    asker, other = world.others(active)
    active.host.stopped = True  # the call lies in its kernel's buffer
    error = await world.refused(asker.at_work.quorum.propose(create()))
    assert error.code.outcome is Outcome.UNKNOWN
    assert error.code is ErrorCode.UPSTREAM_LOST
    active.host.stopped = False
    await world.until(world.agreed)
    assert world.standing(active.node, by=other) is Standing.RUNNING


async def test_what_has_left_is_not_sent_again_over_the_next_link(world: World) -> None:
    """P4: there is time for it, and the controller is reached again; nobody knows what it did."""
    active = await world.formed(1, 2, 3)
    asker = world.others(active)[0]
    active.host.stopped = True
    request = AllocateProducerIds(node=asker.node)
    asked = get_running_loop().create_task(asker.at_work.quorum.propose(request))
    await world.settle()  # it has left
    assert not asked.done()
    asker.links.end(active.node)
    active.host.stopped = False
    error = await world.refused(answered(asked))
    assert (error.code, error.code.outcome) == (ErrorCode.UPSTREAM_LOST, Outcome.UNKNOWN)
    await world.after(2_000)
    assert world.active() is active
    assert active.quorum.image.next_producer_id in {0, 1_000}


async def answered(asked: "Task[Any]") -> Any:
    return await asked


async def test_a_call_that_has_left_is_made_once_though_there_is_time_for_another(
    world: World,
) -> None:
    active = await world.formed(1, 2, 3)
    asker = world.others(active)[0]
    active.host.stopped = True  # the call lies in its kernel's buffer, and ends with it
    call = get_running_loop().create_task(asker.at_work.quorum.propose(create()))
    await world.after(100)
    await active.kill()
    await world.until(call.done)
    error = call.exception()
    assert isinstance(error, RequestError)
    assert error.code is ErrorCode.UPSTREAM_LOST
    await world.after(3_000)
    assert all(not node.quorum.image.topics for node in world.nodes.values())


async def test_what_a_deposed_leader_had_appended_is_unknown(world: World) -> None:
    active = await world.formed(1, 2, 3)
    asker = world.others(active)[0]
    quorum, service = active.quorum, active.at_work.service
    for node in world.others(active):  # they are not heard: nothing is committed
        node.host.stopped = True
    error = await world.refused(service.do(create()))
    assert (error.code, error.code.outcome) == (ErrorCode.LEADERSHIP_LOST, Outcome.UNKNOWN)
    assert not quorum.image.topics
    assert not active.at_work.active
    for node in world.others(active):
        node.host.stopped = False
    await world.until(world.agreed)
    assert asker.at_work.client.session_held() or not asker.at_work.active


async def test_the_quorum_is_changed_and_handed_over_from_any_node(world: World) -> None:
    active = await world.formed(1, 2, 3)
    asker, other = world.others(active)
    await world.done(asker.at_work.quorum.transfer_leadership(other.node))
    await world.until(lambda: other.at_work.active)
    await world.done(asker.at_work.quorum.transfer_leadership(asker.node))
    await world.until(lambda: asker.at_work.active)
    error = await world.refused(other.at_work.quorum.change_voters((), (NodeId(9),)))
    assert error.code is ErrorCode.UNKNOWN_VOTER
    error = await world.refused(other.at_work.quorum.transfer_leadership(NodeId(9)))
    assert error.code is ErrorCode.UNKNOWN_VOTER


async def test_a_node_that_is_not_the_controller_says_who_is_and_where(world: World) -> None:
    active = await world.formed(1, 2, 3)
    other = world.others(active)[0]
    error = await world.refused(other.at_work.service.do(create()))
    assert error.code is ErrorCode.NOT_LEADER
    assert error.metadata == {
        "leader": str(active.node),
        "leader_host": active.address.host,
        "leader_port": str(active.address.port),
    }


async def test_an_answer_that_is_never_shown_here_is_unknown(world: World) -> None:
    active = await world.formed(1, 2, 3)
    asker = world.others(active)[0]
    # Its member of the quorum hears nothing any more; its calls are answered.
    asker.links._handlers[Family.RAFT] = lambda *_: None
    error = await world.refused(asker.at_work.quorum.propose(create()))
    assert (error.code, error.code.outcome) == (ErrorCode.UPSTREAM_LOST, Outcome.UNKNOWN)
    assert ORDERS in active.quorum.image.topics


async def test_what_is_done_and_cannot_be_shown_here_is_not_told_not_done(world: World) -> None:
    active = await world.formed(1, 2, 3)
    asker = world.others(active)[0]
    await world.done(asker.at_work.quorum.propose(create()))
    gone = await world.done(asker.at_work.quorum.propose(DeleteTopic(name="orders")))
    asker.links._handlers[Family.RAFT] = lambda *_: None
    removed = TopicRemoved(topic_id=gone.topic_id, node=asker.node)
    error = await world.refused(asker.at_work.quorum.propose(removed))
    assert (error.code, error.code.outcome) == (ErrorCode.UPSTREAM_LOST, Outcome.UNKNOWN)
    assert asker.node not in active.quorum.image.deleted[gone.topic_id]

"""Three whole nodes act as one log: they form, replicate, lose one, and go on."""

from collections.abc import AsyncIterator

import pytest

from api.broker.acks import Produced
from cluster.controller.image import Standing
from cluster.controller.topics import CreateTopic, DeleteTopic
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import NodeId
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes, ids

TOPIC = "orders"


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def replicated(nodes: Nodes) -> Life:
    """Create a topic with three replicas; return its leader."""
    await nodes.create(1, TOPIC)
    return await nodes.leader(TOPIC)


async def same_everywhere(nodes: Nodes) -> list[bytes]:
    """Wait until every node that runs holds what the leader holds; return that."""
    leader = await nodes.leader(TOPIC)
    lives = list(nodes.lives.values())
    await nodes.until(
        lambda: all(
            life.hosted(TOPIC).high_watermark == leader.hosted(TOPIC).log.log_end for life in lives
        )
    )
    held = leader.stored(TOPIC)
    assert all(life.stored(TOPIC) == held for life in lives)
    return held


async def test_they_form_one_cluster_of_three_voters(nodes: Nodes) -> None:
    images = [life.image for life in nodes.lives.values()]
    assert {image.cluster_id for image in images} == {"tide"}
    await nodes.until(lambda: all(len(life.image.brokers) == 3 for life in nodes.lives.values()))
    active = [
        life
        for life in nodes.lives.values()
        if any("controller_active" == e for e, _ in life.lines)
    ]
    assert len(active) == 1


async def test_a_topic_says_nothing_and_gets_three_replicas(nodes: Nodes) -> None:
    topic = await nodes.create(2, TOPIC)
    assert sorted(topic.partitions[0].replicas) == list(ids(1, 2, 3))


async def test_what_is_acknowledged_is_the_same_bytes_on_all(nodes: Nodes) -> None:
    leader = await replicated(nodes)
    first = await nodes.produce(leader, TOPIC, b"a", b"b")
    second = await nodes.produce(leader, TOPIC, b"c")
    assert (first.base_offset, second.base_offset) == (0, 2)
    assert len(await same_everywhere(nodes)) == 2


async def test_a_follower_refuses_and_names_the_leader(nodes: Nodes) -> None:
    leader = await replicated(nodes)
    other = next(life for life in nodes.lives.values() if life is not leader)
    answer = await nodes.done(nodes.send(other, TOPIC, [b"x"]))
    assert isinstance(answer, RequestError)
    assert answer.code is ErrorCode.NOT_LEADER
    assert answer.code.outcome is Outcome.NOT_DONE
    assert answer.metadata["leader"] == str(leader.number)


@pytest.mark.parametrize("power", [False, True])
async def test_a_dead_leader_is_followed_and_nothing_acknowledged_is_lost(
    nodes: Nodes, power: bool
) -> None:
    leader = await replicated(nodes)
    for value in (b"a", b"b", b"c"):
        await nodes.produce(leader, TOPIC, value)
    held = await same_everywhere(nodes)
    epoch = leader.hosted(TOPIC).leader_epoch
    dead = leader.number
    await nodes.kill(dead, power=power)
    leader = await nodes.leader(TOPIC)
    assert leader.number != dead
    assert leader.hosted(TOPIC).leader_epoch > epoch
    assert leader.stored(TOPIC)[: len(held)] == held
    assert (await nodes.produce(leader, TOPIC, b"d")).base_offset == 3
    await nodes.start(dead)
    await nodes.in_sync(TOPIC)
    assert len(await same_everywhere(nodes)) == 4


async def test_every_node_dies_in_its_turn(nodes: Nodes) -> None:
    await replicated(nodes)
    for turn in range(3):
        leader = await nodes.leader(TOPIC)
        produced = await nodes.produce(leader, TOPIC, b"%d" % turn)
        assert produced.base_offset == turn
        dead = leader.number
        await nodes.kill(dead)
        await nodes.leader(TOPIC)
        await nodes.start(dead)
        await nodes.in_sync(TOPIC)
    assert len(await same_everywhere(nodes)) == 3


async def test_all_lose_power_at_once_and_nobody_has_to_do_anything(nodes: Nodes) -> None:
    leader = await replicated(nodes)
    for value in (b"a", b"b"):
        await nodes.produce(leader, TOPIC, value)
    for number in list(nodes.lives):
        await nodes.kill(number, power=True)
    await nodes.start()
    leader = await nodes.leader(TOPIC)
    assert (await nodes.produce(leader, TOPIC, b"c")).base_offset == 2
    await nodes.in_sync(TOPIC)
    assert len(await same_everywhere(nodes)) == 3


async def test_one_that_stops_in_order_hands_over_first(nodes: Nodes) -> None:
    leader = await replicated(nodes)
    await nodes.produce(leader, TOPIC, b"a")
    stopped = leader.number
    pending = nodes.send(leader, TOPIC, [b"b"])
    await nodes.stop(stopped)
    answer = await nodes.done(pending)
    assert isinstance(answer, Produced)
    leader = await nodes.leader(TOPIC)
    assert leader.number != stopped
    assert stopped not in nodes.row(TOPIC).isr
    assert (await nodes.produce(leader, TOPIC, b"c")).base_offset == 2
    await nodes.start(stopped)
    await nodes.in_sync(TOPIC)
    assert len(await same_everywhere(nodes)) == 3


async def test_one_alone_acknowledges_nothing(nodes: Nodes) -> None:
    leader = await replicated(nodes)
    await nodes.produce(leader, TOPIC, b"a")
    for number in [number for number in nodes.lives if number != leader.number]:
        await nodes.kill(number)
    lost = await nodes.done(nodes.send(leader, TOPIC, [b"b"]))
    assert isinstance(lost, RequestError)
    assert lost.code.outcome is not Outcome.DONE
    await nodes.until(lambda: leader.hosted(TOPIC).alone)
    refused = await nodes.done(nodes.send(leader, TOPIC, [b"c"]))
    assert isinstance(refused, RequestError)
    assert refused.code is ErrorCode.NOT_ENOUGH_REPLICAS
    assert refused.code.outcome is Outcome.NOT_DONE
    for number in nodes.numbers:
        if number not in nodes.lives:
            await nodes.start(number)
    await nodes.in_sync(TOPIC)
    held = await same_everywhere(nodes)
    assert len(held) in {1, 2}  # what was unknown is there or not, and everywhere the same


async def test_a_topic_that_is_deleted_is_gone_from_all(nodes: Nodes) -> None:
    topic = await nodes.create(1, TOPIC)
    broker = nodes.lives[3].node.broker
    (answer,) = await nodes.done(broker.delete_topics(ANONYMOUS, [DeleteTopic(name=TOPIC)]))
    assert not isinstance(answer, RequestError)
    await nodes.until(
        lambda: all(
            not life.context.directory.removing
            and topic.topic_id not in {one.topic for one in life.context.directory.partitions}
            for life in nodes.lives.values()
        )
    )


async def test_a_topic_that_is_deleted_while_a_node_is_down_is_gone_from_it_when_it_is_back(
    nodes: Nodes,
) -> None:
    topic = await nodes.create(1, TOPIC)
    await nodes.produce(await nodes.leader(TOPIC), TOPIC, b"a")
    await nodes.kill(3)
    broker = nodes.lives[1].node.broker
    await nodes.until(lambda: broker.image.brokers[NodeId(3)].standing is Standing.FENCED)
    (answer,) = await nodes.done(broker.delete_topics(ANONYMOUS, [DeleteTopic(name=TOPIC)]))
    assert not isinstance(answer, RequestError)
    await nodes.pass_by(5_000)
    await nodes.start(3)
    await nodes.until(lambda: all(not life.image.deleted for life in nodes.lives.values()))
    assert not nodes.lives[3].node.stray
    assert topic.topic_id not in {one.topic for one in nodes.lives[3].context.directory.partitions}


@pytest.mark.parametrize(("controls", "most_ms"), [(True, 900), (False, 500)])
async def test_a_death_is_proven_long_before_a_session_ends(
    nodes: Nodes, controls: bool, most_ms: int
) -> None:
    """P51: its kernel has reset the links and refuses new ones: nobody waits for its silence.

    It is refused for 300 ms, seen by attempts that are up to 250 ms apart by then. An election of
    the quorum, if that is to be led anew as well, begins with the proof, not after 800 ms; a member
    waits by chance then. By silence alone it would be 2.5 s, or the election before it.
    """
    active = next(
        number
        for number, life in nodes.lives.items()
        if any(event == "controller_active" for event, _ in life.lines)
    )
    rest = [number for number in nodes.lives if number != active]
    replicas = [active, *rest] if controls else [*rest, active]
    request = CreateTopic(name=TOPIC, assignments=(ids(*replicas),))
    (answer,) = await nodes.done(nodes.lives[1].node.broker.create_topics(ANONYMOUS, [request]))
    assert not isinstance(answer, RequestError)
    await nodes.until(lambda: all(TOPIC in life.image.topics for life in nodes.lives.values()))
    leader = await nodes.leader(TOPIC)
    assert (leader.number == active) is controls
    died = nodes.net.clock.monotonic_ms()
    await nodes.kill(leader.number)
    await nodes.leader(TOPIC)
    took = nodes.net.clock.monotonic_ms() - died
    assert 300 <= took < most_ms, took

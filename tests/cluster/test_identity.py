"""Who a node is: lost, copied and restored directories, and ids that are given twice (P47)."""

from collections.abc import AsyncIterator

import pytest
from grpc import StatusCode

from api.broker.acks import Produced
from api.errors import grpc_status
from api.sim.disk import SimDisk
from cluster.controller.image import BrokerImage, MetadataImage, PartitionImage, Standing
from cluster.controller.topics import CreateTopic
from cluster.shell.controller_client import ControllerClient, Starting
from cluster.shell.controller_doors import pause
from model.errors import DirectoryExit, DirectoryRefused, ErrorCode, Outcome, RequestError
from model.ids import NodeId
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes

TOPIC = "orders"


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def filled(nodes: Nodes) -> Life:
    """Create a topic with three replicas and a few records; return its leader."""
    await nodes.create(1, TOPIC)
    leader = await nodes.leader(TOPIC)
    for value in (b"a", b"b", b"c"):
        await nodes.produce(leader, TOPIC, value)
    return leader


def uuid_of(nodes: Nodes, at: int, number: int) -> bytes:
    return nodes.lives[at].image.brokers[NodeId(number)].directory


def refusal(life: Life) -> DirectoryRefused | None:
    """Return why a process ends, if it does."""
    for failure in life.failures:
        assert isinstance(failure, DirectoryRefused), failure
        return failure
    return None


async def refused(nodes: Nodes, life: Life) -> str:
    """Wait until a process ends with exit code 12; return what it says."""
    await nodes.until(lambda: refusal(life) is not None)
    found = refusal(life)
    assert found is not None and found.exit_code is DirectoryExit.FENCED
    assert not life.node.has_joined
    return found.detail


async def undisturbed(nodes: Nodes, leader: Life, epoch: int) -> None:
    """See that a leader still leads as before, and serves."""
    assert leader.hosted(TOPIC).leader_epoch == epoch
    assert isinstance(await nodes.done(nodes.send(leader, TOPIC, [b"more"])), Produced)
    assert len(nodes.row(TOPIC).isr) == 3
    assert not any(
        event == "broker_fenced" for one in nodes.lives.values() for event, _ in one.lines
    )


@pytest.mark.parametrize("leads", [True, False])
async def test_a_wiped_volume_is_filled_again_and_votes(nodes: Nodes, leads: bool) -> None:
    leader = await filled(nodes)
    held = leader.stored(TOPIC)
    number = leader.number if leads else 1 + leader.number % 3
    before = uuid_of(nodes, number, number)
    await nodes.kill(number)
    nodes.disks[number] = SimDisk()
    await nodes.start(number)
    assert uuid_of(nodes, number, number) != before
    await nodes.in_sync(TOPIC)
    assert nodes.lives[number].stored(TOPIC)[: len(held)] == held
    quorum = [life.context.quorum for life in nodes.lives.values()]
    await nodes.until(lambda: all(len(one.status.voters) == 3 for one in quorum))
    members = {(one.node, one.directory) for one in quorum[0].status.members}
    assert members == {(NodeId(n), uuid_of(nodes, n, n)) for n in nodes.numbers}
    leader = await nodes.leader(TOPIC)
    assert (await nodes.produce(leader, TOPIC, b"d")).base_offset == 3


async def test_a_lost_copy_counts_no_more_before_the_new_one_is_there(nodes: Nodes) -> None:
    """Its old replicas leave ISR and ELR with its registration, in one step."""
    await nodes.create(1, TOPIC, replicas=2)
    leader = await nodes.leader(TOPIC)
    await nodes.produce(leader, TOPIC, b"a")
    number = next(node for node in nodes.row(TOPIC).replicas if node != leader.number)
    await nodes.kill(number)
    await nodes.until(lambda: nodes.row(TOPIC, at=leader.number).elr == (number,))
    nodes.disks[number] = SimDisk()
    before = uuid_of(nodes, leader.number, number)
    rows: list[PartitionImage] = []

    def seen(image: MetadataImage, delta: object) -> None:
        del delta
        if not rows and image.brokers[NodeId(number)].directory != before:
            rows.append(nodes.row(TOPIC, at=leader.number))

    leader.context.quorum.subscribe(seen)
    await nodes.start(number)
    assert number not in rows[0].candidates and rows[0].lost == (number,)
    await nodes.in_sync(TOPIC, 2)
    assert nodes.row(TOPIC).lost == ()


async def test_two_wiped_of_three_form_no_second_cluster(nodes: Nodes) -> None:
    await filled(nodes)
    for number in (2, 3):
        await nodes.kill(number)
        nodes.disks[number] = SimDisk()
    fresh = await nodes.begin(2, 3)
    await nodes.pass_by(20_000)
    assert not any(life.node.has_joined for life in fresh)
    for life in fresh:
        assert not any(event == "quorum_founded" for event, _ in life.lines)
        assert any(event == "quorum_joined" for event, _ in life.lines)
        assert life.context.quorum.image.cluster_id == ""
        (answer,) = await nodes.done(
            life.node.broker.create_topics(ANONYMOUS, [CreateTopic(name="x", partitions=1)])
        )
        assert isinstance(answer, RequestError)
        assert answer.code is ErrorCode.NO_QUORUM
        assert answer.code.outcome is Outcome.NOT_DONE
        assert grpc_status(answer.code) is StatusCode.UNAVAILABLE
    assert not any(event == "controller_active" for life in fresh for event, _ in life.lines)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_copy_beside_its_original_ends_with_12(nodes: Nodes, number: int) -> None:
    """Whatever the original does: one of these leads the controllers, one the partition."""
    leader = await filled(nodes)
    epoch, controller = leader.hosted(TOPIC).leader_epoch, leader.context.quorum.status.leader
    clone = await nodes.stray(number, nodes.copy_of(number), host="elsewhere")
    text = await refused(nodes, clone)
    assert f"node {number} is running already, at" in text and f"n{number}:7000" in text
    await undisturbed(nodes, leader, epoch)
    assert leader.context.quorum.status.leader == controller
    original = nodes.lives[number]
    assert not any(event == "peer_lost" for event, _ in original.lines)


async def test_a_copy_has_no_voice_in_the_quorum(nodes: Nodes) -> None:
    """The controllers' leader dies while the copy waits: nobody votes twice, no copy leads."""
    leader = await filled(nodes)
    active = leader.context.quorum.status.leader
    assert active is not None
    other = next(number for number in nodes.numbers if number != active)
    clone = await nodes.stray(other, nodes.copy_of(other), host="elsewhere")
    await nodes.pass_by(200)
    await nodes.kill(active)
    await refused(nodes, clone)
    assert not any(event == "controller_active" for event, _ in clone.lines)
    quorums = [life.context.quorum.status for life in nodes.lives.values()]
    assert len({(one.term, one.leader) for one in quorums}) == 1
    assert quorums[0].leader not in {None, active}


@pytest.mark.parametrize("beside", [True, False])
async def test_an_image_of_yesterday_ends_with_12(nodes: Nodes, beside: bool) -> None:
    leader = await filled(nodes)
    number = 1 + leader.number % 3
    yesterday = nodes.copy_of(number)
    await nodes.kill(number)
    await nodes.start(number)
    await nodes.in_sync(TOPIC)
    if not beside:
        await nodes.kill(number)
    epoch = nodes.lives[leader.number].image.brokers[NodeId(number)].registration_epoch
    old = await nodes.stray(number, yesterday, host="elsewhere")
    assert "older copy of itself" in await refused(nodes, old)
    assert leader.image.brokers[NodeId(number)].registration_epoch == epoch


@pytest.mark.parametrize("late_ms", [0, 1_000])
async def test_an_old_image_in_its_place_ends_with_12_however_often_it_is_started(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, late_ms: int
) -> None:
    """Its metadata log is behind what the leader of the quorum was told by its successor.

    It may hear of that from the leader's heartbeat before the controller has judged it.
    """
    leader = await filled(nodes)
    number = 1 + leader.number % 3
    await nodes.stop(number)
    yesterday = nodes.copy_of(number)
    await nodes.start(number)
    for topic in ("more", "still-more"):
        await nodes.create(number, topic)
    await nodes.in_sync(TOPIC)
    await nodes.stop(number)
    epoch = leader.image.brokers[NodeId(number)].registration_epoch
    register = ControllerClient.register

    async def late(client: ControllerClient, starting: Starting) -> BrokerImage:
        if late_ms:
            await pause(nodes.net.clock, late_ms)
        return await register(client, starting)

    monkeypatch.setattr(ControllerClient, "register", late)
    for _ in range(3):
        old = await nodes.stray(number, yesterday, host=f"n{number}")
        assert "older copy of itself" in await refused(nodes, old)
        await old.end()
        yesterday.kill()
        nodes.net.kill(old.host, ConnectionResetError())
    assert leader.image.brokers[NodeId(number)].registration_epoch == epoch
    nodes.disks[number] = SimDisk()
    await nodes.start(number)
    await nodes.in_sync(TOPIC)


async def test_a_second_node_of_an_id_ends_with_12_and_names_the_first(nodes: Nodes) -> None:
    leader = await filled(nodes)
    epoch = leader.hosted(TOPIC).leader_epoch
    second = await nodes.stray(leader.number, SimDisk(), host="elsewhere")
    text = await refused(nodes, second)
    first = f"{leader.host.address.host}:{leader.host.address.port}"
    assert f"node {leader.number} is running already, at" in text and first in text
    await undisturbed(nodes, leader, epoch)


async def test_empty_nodes_with_the_same_seeds_join(nodes: Nodes) -> None:
    leader = await filled(nodes)
    await nodes.start(4, 5, 6)
    await nodes.until(
        lambda: all(
            [one.standing for one in life.image.brokers.values()] == [Standing.RUNNING] * 6
            for life in nodes.lives.values()
        )
    )
    quorum = leader.context.quorum
    await nodes.until(lambda: len(quorum.status.members) == 6)
    assert {one.node for one in quorum.status.voters} == {1, 2, 3}
    assert {life.image.cluster_id for life in nodes.lives.values()} == {"tide"}
    founded = [n for n, life in nodes.lives.items() if "quorum_founded" in dict(life.lines)]
    assert set(founded) <= {1, 2, 3}


async def test_empty_nodes_of_another_cluster_end_with_12(nodes: Nodes) -> None:
    leader = await filled(nodes)
    epoch = leader.hosted(TOPIC).leader_epoch
    strangers = [
        await nodes.stray(number, SimDisk(), "cluster.id=ebb", host=f"ebb-{number}")
        for number in (4, 5, 6)
    ]
    for stranger in strangers:
        text = await refused(nodes, stranger)
        assert '"ebb"' in text and "check cluster.id" in text
    await undisturbed(nodes, leader, epoch)
    assert set(leader.image.brokers) == {1, 2, 3}

"""Who is let in as which node: second ones, old images, wiped volumes, late processes."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import Standing
from cluster.controller.registration import Barrier, RegistrationRefused
from cluster.controller.request_frames import BrokerHeartbeat
from cluster.controller.request_frames import encode as encode_request
from cluster.controller.standing import SetStanding
from cluster.peer.table import parse
from cluster.raft.voters import Voter
from cluster.shell.controller_frames import ControllerFrames
from model.errors import DirectoryExit, MalformedError
from model.ids import NodeId, RegistrationEpoch
from tests.controller_world import Directory, World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def test_a_second_node_of_one_id_asks_for_a_session_and_ends_with_12(world: World) -> None:
    active = await world.formed(1, 2, 3)
    second = world.stray(3, Directory(33), host="elsewhere")
    await world.after(2_500 + 2 * 400 - 100)
    assert second.refused is None
    await world.until(lambda: second.refused is not None)
    assert second.refused is not None
    assert second.refused.exit_code is DirectoryExit.FENCED
    assert "node 3 is running already, at peer n3:7000" in second.refused.detail
    assert active.quorum.image.brokers[NodeId(3)].directory == world.directories[NodeId(3)].uuid
    assert world.agreed()


async def test_a_second_node_is_let_in_once_the_first_is_dead(world: World) -> None:
    active = await world.formed(1, 2, 3)
    first = world.others(active)[0]
    first.host.cut = True
    again = world.stray(first.node, Directory(33), host="elsewhere")
    await world.until(lambda: again.broker is not None)
    assert again.refused is None
    assert active.quorum.image.brokers[first.node].registration_epoch == 2
    first.host.cut = False
    await world.until(lambda: bool(first.replaced))
    assert "a later process has registered" in first.replaced[0]
    assert not first.at_work.client.session_held()


async def test_a_node_that_has_moved_is_found_at_its_new_address(world: World) -> None:
    active = await world.formed(1, 2, 3)
    moved = world.others(active)[0]
    await moved.kill()
    again = world.stray(moved.node, moved.directory, host="elsewhere")
    world.nodes[again.node] = again
    await world.until(lambda: again.broker is not None and world.agreed())
    assert active.addresses.known[again.node] == again.address
    assert active.links.peer(again.node) == again.me._replace(
        nonce=active.links.peer(again.node).nonce  # type: ignore[union-attr]
    )


async def test_an_image_that_was_restored_is_refused_and_nothing_is_changed(world: World) -> None:
    active = await world.formed(1, 2, 3)
    number = world.others(active)[0].node
    directory = world.directories[number]
    for _ in range(2):
        await world.nodes[number].kill()
        world.start(number)
        await world.until(world.agreed)
    epoch = active.quorum.image.brokers[number].registration_epoch
    await world.nodes[number].kill()
    directory.remembered = RegistrationEpoch(1)
    world.start(number)
    node = world.nodes[number]
    await world.until(lambda: node.refused is not None)
    assert node.refused is not None
    assert node.refused.exit_code is DirectoryExit.FENCED
    assert "older copy of itself" in node.refused.detail
    assert active.quorum.image.brokers[number].registration_epoch == epoch


async def test_who_is_refused_remembers_no_more_than_before(world: World) -> None:
    """Else an image that was restored would be let in once it has asked often enough."""
    active = await world.formed(1, 2, 3)
    number = world.others(active)[0].node
    directory = world.directories[number]
    await world.nodes[number].kill()
    world.start(number)
    await world.until(world.agreed)
    assert directory.remembered == 2
    directory.remembered = RegistrationEpoch(1)
    for _ in range(3):
        await world.nodes[number].kill()
        world.start(number)
        node = world.nodes[number]
        await world.until(lambda node=node: node.refused is not None)
        assert node.refused is not None and "older copy of itself" in node.refused.detail
        assert directory.remembered == 1
    assert active.quorum.image.brokers[number].registration_epoch == 2


async def test_the_epoch_is_written_down_before_the_controller_hears_of_it(world: World) -> None:
    world.start(1, 2)  # no third: nobody forms a cluster, nobody is registered
    await world.after(1_000)
    assert world.directories[NodeId(1)].remembered == 0
    world.start(3)
    await world.until(world.agreed)
    for node in world.nodes.values():
        known = node.quorum.image.brokers[node.node]
        assert node.directory.remembered >= known.remembered == 1


async def test_a_wiped_volume_comes_back_as_another_member_with_a_vote(world: World) -> None:
    active = await world.formed(1, 2, 3)
    number = world.others(active)[0].node
    old = Voter(number, world.directories[number].uuid)
    await world.nodes[number].kill()
    world.directories[number] = Directory(30 + number)
    world.start(number)
    new = Voter(number, world.directories[number].uuid)
    await world.until(lambda: new in active.quorum.configuration.voters)
    assert old not in active.quorum.configuration.members
    assert len(active.quorum.configuration.voters) == 3
    await world.until(world.agreed)


async def test_a_fourth_node_learns_and_does_not_vote(world: World) -> None:
    active = await world.formed(1, 2, 3)
    world.start(4)
    await world.until(world.agreed)
    fourth = world.nodes[NodeId(4)]
    me = Voter(NodeId(4), fourth.directory.uuid)
    assert me in active.quorum.configuration.learners
    assert len(active.quorum.configuration.voters) == 3
    await active.kill()
    await world.until(lambda: any(node.shell and node.shell.active for node in world.others()))
    await world.until(
        lambda: (
            world.standing(active.node, by=fourth) is Standing.FENCED
            and fourth.at_work.client.session_held()
        )
    )


async def test_a_lone_seed_is_joined_by_two_that_vote() -> None:
    world = World(1)
    try:
        await world.formed(1)
        world.start(2)
        await world.until(world.agreed)
        world.start(3)
        await world.until(world.agreed)
        await world.until(lambda: len(world.active().quorum.configuration.voters) == 3)
        await world.nodes[NodeId(1)].kill()
        await world.until(lambda: any(node.shell and node.shell.active for node in world.others()))
    finally:
        await world.close()


async def test_nobody_speaks_for_another(world: World) -> None:
    active = await world.formed(1, 2, 3)
    peer = world.others(active)[0].me
    answers: list[bytes] = []
    epoch = RegistrationEpoch(1)
    for asked in (
        BrokerHeartbeat(active.node, epoch),
        SetStanding(nodes=((peer.node, epoch), (active.node, epoch)), standing=Standing.STOPPED),
    ):
        frame = parse(encode_request(asked, correlation=1), version=1)
        with pytest.raises(MalformedError, match="the link is that of node"):
            active.frames.take(peer, frame, answers.append)
    await world.settle()
    assert answers == []
    assert world.agreed()


async def test_a_registration_names_the_process_on_the_link(world: World) -> None:
    active = await world.formed(1, 2, 3)
    other = world.others(active)[0]
    asked: list[bytes] = []

    request = RegisterBroker(
        node=other.node,
        directory=other.me.directory,
        clean=True,
        cluster_id="tide",
        incarnation=bytes(16),
    )
    frame = parse(encode_request(request, correlation=1), version=1)
    with pytest.raises(MalformedError, match="another process"):
        active.frames.take(other.me, frame, asked.append)


async def test_before_there_is_a_quorum_everything_but_seeds_is_refused(world: World) -> None:
    world.start(1)
    await world.after(500)
    frames: ControllerFrames = world.nodes[NodeId(1)].frames
    answers: list[bytes] = []
    beat = BrokerHeartbeat(NodeId(2), RegistrationEpoch(1))
    peer = world.nodes[NodeId(1)].me._replace(node=NodeId(2))
    frames.take(peer, parse(encode_request(beat, correlation=1), version=1), answers.append)
    await world.settle()
    assert b"NO_QUORUM" in answers[0]


async def test_another_clusters_node_is_refused(world: World) -> None:
    active = await world.formed(1, 2, 3)
    request = RegisterBroker(
        node=NodeId(9),
        directory=bytes(16),
        clean=True,
        cluster_id="ebb",
        incarnation=bytes([9] * 16),
    )
    error = await world.refused(active.at_work.service.do(request))
    assert isinstance(error, RegistrationRefused)
    assert error.barrier is Barrier.FOREIGN_CLUSTER

"""The controller over three nodes: who lives, who is fenced by proof or silence, who comes back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from cluster.controller.image import LogEnd, PartitionImage, Standing
from cluster.controller.leadership import TransferLeader
from cluster.controller.request import Request
from cluster.controller.request_frames import BrokerHeartbeat
from cluster.controller.sessions import Heard
from cluster.controller.standing import SetStanding
from cluster.controller.topics import CreateTopic
from cluster.shell.peer_links import PeerLinks
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, NodeId, Offset, PartitionId, RegistrationEpoch
from tests.controller_world import Node, World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def created(world: World, node: Node, *replicas: int) -> None:
    """Create the topic "orders" with one partition on these nodes."""
    await world.done(
        node.at_work.quorum.propose(
            CreateTopic(name="orders", assignments=(tuple(map(NodeId, replicas)),))
        )
    )


def row(node: Node) -> PartitionImage:
    return next(iter(node.quorum.image.topics.values())).partitions[0]


def where(node: Node) -> PartitionId:
    return PartitionId(next(iter(node.quorum.image.topics_by_id)), 0)


async def test_three_nodes_register_and_are_held(world: World) -> None:
    active = await world.formed(1, 2, 3)
    image = active.quorum.image
    assert image.cluster_id == "tide"
    assert {node: one.registration_epoch for node, one in image.brokers.items()} == {
        1: 1, 2: 1, 3: 1,
    }  # fmt: skip
    assert all(node.directory.remembered == 1 for node in world.nodes.values())
    await world.after(10_000)
    assert world.agreed()
    assert all(node.at_work.client.session_held() for node in world.nodes.values())
    assert sum(len(node.noted("broker_fenced")) for node in world.nodes.values()) == 0


async def test_a_killed_node_is_fenced_by_proof_and_others_lead_what_it_led(world: World) -> None:
    active = await world.formed(1, 2, 3)
    lost, heir = world.others(active)
    await created(world, active, lost.node, heir.node, active.node)
    assert row(heir).leader == lost.node
    await lost.kill()
    took = await world.until(lambda: row(heir).leader == heir.node)
    assert 300 <= took <= 900
    assert world.standing(lost.node, by=heir) is Standing.FENCED


async def test_a_silent_node_is_fenced_when_its_session_ends_and_comes_back(world: World) -> None:
    active = await world.formed(1, 2, 3)
    silent = world.others(active)[0]
    silent.host.cut = True
    await world.after(2_000)
    assert world.standing(silent.node, by=active) is Standing.RUNNING
    took = await world.until(lambda: world.standing(silent.node, by=active) is Standing.FENCED)
    assert 50 <= took <= 600
    assert not silent.at_work.client.session_held()
    silent.host.cut = False
    await world.until(world.agreed)
    assert silent.quorum.image.brokers[silent.node].registration_epoch == 1
    assert world.agreed()
    await world.until(silent.at_work.client.session_held)


async def test_a_reset_alone_proves_nothing(world: World) -> None:
    active = await world.formed(1, 2, 3)
    other = world.others(active)[0]
    for end in list(world.net.ends):
        if {end.host, end.other.host} == {active.host, other.host}:
            end.lose(ConnectionResetError())
    await world.after(5_000)
    assert world.agreed()
    assert not active.noted("broker_fenced")


async def test_a_restarted_node_takes_its_place_again(world: World) -> None:
    active = await world.formed(1, 2, 3)
    number = world.others(active)[0].node
    await world.nodes[number].kill()
    world.start(number)  # at once: another process at its address is proof enough
    took = await world.until(
        lambda: active.quorum.image.brokers[number].registration_epoch == 2 and world.agreed()
    )
    assert took <= 1_500
    assert world.nodes[number].directory.remembered == 2


async def test_who_leads_the_quorum_dies_and_the_next_one_fences_it_at_once(world: World) -> None:
    first = await world.formed(1, 2, 3)
    second, third = world.others(first)
    await created(world, first, first.node, second.node, third.node)
    await world.until(lambda: bool(third.quorum.image.topics) and bool(second.quorum.image.topics))
    await first.kill()
    took = await world.until(lambda: row(third).leader == second.node)
    assert took <= 2_000  # reset and 300 ms of refusals, an election, a commit: no session
    assert world.active() in {second, third}
    await world.after(5_000)
    assert world.standing(second.node, by=third) is Standing.RUNNING
    assert world.standing(third.node, by=third) is Standing.RUNNING


async def test_a_new_controller_gives_everybody_a_whole_fresh_session(world: World) -> None:
    first = await world.formed(1, 2, 3)
    second, third = world.others(first)
    third.host.stopped = True  # silent from here on: by the first one's count dead in 2.5 s
    await world.after(1_500)
    await world.done(first.quorum.transfer_leadership(second.node))
    await world.until(lambda: bool(second.shell and second.shell.active))
    await world.after(2_000)
    assert world.standing(third.node, by=second) is Standing.RUNNING
    assert first.at_work.client.session_held()
    took = await world.until(lambda: world.standing(third.node, by=second) is Standing.FENCED)
    assert took <= 700
    third.host.stopped = False
    await world.until(world.agreed)


async def test_a_controller_that_stood_still_fences_nobody(world: World) -> None:
    active = await world.formed(1, 2, 3)
    world.net.clock._monotonic += 4_000  # nothing ran meanwhile: what had come is not read yet
    world.net.clock.advance(0)
    await world.after(5_000)
    assert not active.noted("broker_fenced")
    assert world.agreed()


async def test_a_controller_that_stood_still_fences_nobody_over_what_it_reads_first(
    world: World,
) -> None:
    active = await world.formed(1, 2, 3)
    lost, lives = world.others(active)
    await lost.kill()
    await world.until(lambda: world.standing(lost.node, by=active) is Standing.FENCED)
    world.net.clock._monotonic += 4_000  # nothing ran; then a refused attempt comes before a timer
    active.deaths.refused(lost.node)
    await world.settle()
    assert [one["broker"] for one in active.noted("broker_fenced")] == [lost.node]
    world.net.clock.advance(0)
    await world.after(5_000)
    assert world.standing(lives.node, by=active) is Standing.RUNNING


async def test_a_proof_outlasts_a_controller_that_stood_still(world: World) -> None:
    active = await world.formed(1, 2, 3)
    lost = world.others(active)[0]
    await lost.kill()
    await world.after(100)  # its link is reset, and it was refused once
    world.net.clock._monotonic += 1_000
    took = await world.until(lambda: world.standing(lost.node, by=active) is Standing.FENCED)
    assert took <= 700


async def test_a_sign_of_life_from_who_is_fenced_is_forgotten_if_it_stays_the_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = await world.formed(1, 2, 3)
    lost = world.others(active)[0]
    await lost.kill()
    await world.until(lambda: world.standing(lost.node, by=active) is Standing.FENCED)
    propose = active.quorum.propose

    async def none_comes_back(request: Request[Any]) -> Any:
        if isinstance(request, SetStanding) and request.standing is Standing.RUNNING:
            raise RequestError(ErrorCode.NO_QUORUM, "just then")
        return await propose(request)

    monkeypatch.setattr(active.quorum, "propose", none_comes_back)
    late = BrokerHeartbeat(lost.node, RegistrationEpoch(1))
    assert await world.done(active.at_work.service.do(late)) is Heard.UNFENCE
    await world.after(10_000)
    assert len(active.noted("broker_fenced")) <= 2


async def test_a_node_that_stops_in_order_leads_nothing_and_is_not_missed(world: World) -> None:
    active = await world.formed(1, 2, 3)
    leaving, heir = world.others(active)
    await created(world, active, leaving.node, heir.node)
    client = leaving.at_work.client
    assert await world.done(client.leave(patience_ms=5_000)) == 0
    assert row(active).leader == heir.node
    assert world.standing(leaving.node, by=active) is Standing.STOPPING
    assert await world.done(client.last_word())
    await leaving.kill()
    await world.after(5_000)
    assert world.standing(leaving.node, by=active) is Standing.STOPPED
    assert not active.noted("broker_fenced")


async def test_an_election_that_waits_for_recovered_logs_is_told_of_them(world: World) -> None:
    active = await world.formed(1, 2, 3)
    one, two = world.others(active)
    await created(world, active, one.node, two.node)
    partition = where(active)
    await one.kill()
    await two.kill()
    await active.kill()
    world.start(1, 2, 3)
    for node, end in ((one.node, 5), (two.node, 9)):
        world.nodes[node].ends[partition] = LogEnd(LeaderEpoch(0), Offset(end))
    await world.until(lambda: world.agreed() and row(world.active()).leader == two.node)
    assert row(world.active()).leader_epoch > 0


async def test_leaderships_go_back_to_whose_they_are(world: World) -> None:
    active = await world.formed(1, 2, 3)
    away, heir = world.others(active)
    await created(world, active, away.node, heir.node)
    await world.done(
        active.at_work.quorum.propose(TransferLeader(topic="orders", number=0, to=heir.node))
    )
    assert row(active).leader == heir.node
    assert await world.done(heir.at_work.client.elect_preferred()) == 1
    assert row(active).leader == away.node


async def test_after_the_end_of_all_nobody_waits_for_sessions_of_the_dead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes answer at the addresses of those that the new controller never met.

    None of their links ends meanwhile, which would be another proof.
    """
    await world.formed(1, 2, 3)
    for node in list(world.nodes.values()):
        await node.kill()
    await world.after(10_000)
    monkeypatch.setattr(PeerLinks, "end", lambda *_: None)
    world.start(1, 2, 3)
    again = list(world.nodes.values())
    assert await world.until(lambda: all(node.broker is not None for node in again)) < 2_000
    assert not any(node.noted("broker_fenced") for node in again)

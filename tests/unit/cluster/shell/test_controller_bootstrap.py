"""Empty directories and their seeds: one cluster forms, or none; never two."""

from collections.abc import AsyncIterator

import pytest_asyncio

from cluster.raft.voters import Voter
from model.errors import DirectoryExit
from model.ids import NodeId
from tests.controller_world import Directory, World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def test_seeds_that_are_all_empty_form_one_cluster(world: World) -> None:
    world.start(1)
    await world.after(700)
    world.start(3)
    await world.after(900)
    assert all(node.up is None for node in world.nodes.values())
    assert world.nodes[NodeId(1)].noted("quorum_awaited")[-1] == {"missing": "n2:7000"}
    world.start(2)
    await world.until(world.agreed)
    quorums = {node.quorum.configuration.voters for node in world.nodes.values()}
    assert quorums == {tuple(Voter(NodeId(n), bytes([n]) * 16) for n in (1, 2, 3))}


async def test_a_seed_that_is_cut_off_from_one_other_holds_everybody_up(world: World) -> None:
    world.start(1, 2, 3)
    world.nodes[NodeId(3)].host.cut = True
    await world.after(10_000)
    assert all(node.up is None for node in world.nodes.values())
    world.nodes[NodeId(3)].host.cut = False
    await world.until(world.agreed)


async def test_two_wiped_of_three_join_what_is_left_or_wait_for_it(world: World) -> None:
    await world.formed(1, 2, 3)
    for node in list(world.nodes.values()):
        await node.kill()
    for number in (1, 2):
        world.directories[NodeId(number)] = Directory(10 + number)
    world.start(1, 2)
    await world.after(5_000)
    assert all(node.up is None for node in world.nodes.values())  # no cluster beside the first
    world.start(3)
    await world.after(5_000)
    third = world.nodes[NodeId(3)]
    voters = third.quorum.configuration.voters
    for node in (world.nodes[NodeId(1)], world.nodes[NodeId(2)]):
        assert node.quorum.configuration.voters == voters  # they join it, and do not vote in it
        assert node.broker is None


async def test_a_founder_that_dies_before_anything_is_decided_founds_the_same(world: World) -> None:
    world.start(1, 2, 3)
    await world.until(lambda: world.nodes[NodeId(1)].up is not None)
    voters = world.nodes[NodeId(1)].quorum.configuration.voters
    for node in list(world.nodes.values()):
        await node.kill()
    world.directories[NodeId(2)] = Directory(12)  # and one is wiped
    world.start(1)
    first = world.nodes[NodeId(1)]
    await world.until(lambda: first.up is not None)  # without asking any seed
    assert first.quorum.configuration.voters == voters
    world.start(2, 3)
    await world.until(world.agreed)
    assert Voter(NodeId(2), bytes([12]) * 16) in first.quorum.configuration.voters


async def test_two_seeds_with_one_id_end_with_12(world: World) -> None:
    world.start(1, 2)
    world.stray(1, Directory(7), host="n3")
    await world.until(lambda: all(node.refused for node in [*world.nodes.values(), *world.strays]))
    assert {node.refused.exit_code for node in world.strays if node.refused} == {
        DirectoryExit.FENCED
    }


async def test_a_restarted_cluster_needs_no_seed_that_answers(world: World) -> None:
    await world.formed(1, 2, 3)
    for node in list(world.nodes.values()):
        await node.kill()
    world.start(1, 3)
    await world.until(lambda: all(node.broker for node in world.nodes.values()))
    assert world.active().quorum.image.cluster_id == "tide"

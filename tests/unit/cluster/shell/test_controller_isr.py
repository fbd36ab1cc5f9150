"""What leaders ask of the controller: asked until it is answered, refused at most once."""

from collections.abc import AsyncIterator

import pytest_asyncio

from cluster.controller.image import PartitionImage
from cluster.controller.isr import IsrProposal, RowVersion
from cluster.controller.topics import CreateTopic
from cluster.peer.table import Family
from model.ids import NodeId, PartitionId, RegistrationEpoch
from tests.controller_world import Node, World

FIRST = RegistrationEpoch(1)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def led_by(world: World, leader: Node, *others: Node) -> RowVersion:
    """Create a topic whose only partition a node leads; return its row."""
    replicas = (leader.node, *(node.node for node in others))
    request = CreateTopic(name="orders", assignments=(replicas,))
    await world.done(leader.at_work.quorum.propose(request))
    return version(leader)


def row(node: Node) -> PartitionImage:
    return next(iter(node.quorum.image.topics.values())).partitions[0]


def version(node: Node) -> RowVersion:
    topic_id, now = next(iter(node.quorum.image.topics_by_id)), row(node)
    return RowVersion(topic_id, 0, now.leader_epoch, now.partition_epoch)


def of(one: RowVersion, *nodes: Node, epoch: RegistrationEpoch = FIRST) -> IsrProposal:
    return IsrProposal(one, tuple((node.node, epoch) for node in nodes))


async def test_proposals_are_taken_and_come_with_the_metadata(world: World) -> None:
    active = await world.formed(1, 2, 3)
    leader, follower = world.others(active)
    based_on = await led_by(world, leader, follower, active)
    leader.at_work.isr.alter_isr([of(based_on, follower)])
    await world.until(lambda: row(leader).isr == (leader.node, follower.node))
    leader.at_work.isr.alter_isr([of(version(leader), follower, active)])
    await world.until(lambda: len(row(leader).isr) == 3)
    assert leader.isr_refused == []


async def test_a_follower_that_has_been_registered_anew_is_refused_once(world: World) -> None:
    active = await world.formed(1, 2, 3)
    leader, follower = world.others(active)
    await led_by(world, leader, follower, active)
    leader.at_work.isr.alter_isr([of(version(leader), active)])
    await world.until(lambda: follower.node not in row(leader).isr)
    based_on = version(leader)
    leader.at_work.isr.alter_isr([of(based_on, active, follower, epoch=RegistrationEpoch(7))])
    await world.until(lambda: bool(leader.isr_refused))
    await world.after(2_000)
    partition = PartitionId(based_on.topic_id, 0)
    assert leader.isr_refused == [(partition, based_on.partition_epoch)]


async def test_who_stays_and_has_not_spoken_goes_under_the_registration_of_the_metadata(
    world: World,
) -> None:
    """No frame that the controller could not read: the link between the two stays up."""
    active = await world.formed(1, 2, 3)
    leader, follower = world.others(active)
    based_on = await led_by(world, leader, follower, active)
    leader.at_work.isr.alter_isr([IsrProposal(based_on, ((follower.node, None),))])
    await world.until(lambda: row(leader).isr == (leader.node, follower.node))
    assert leader.isr_refused == []
    assert leader.tasks.failed == []
    stays, gone = (follower.node, None), (NodeId(9), None)
    now = version(leader)
    leader.at_work.isr.alter_isr([IsrProposal(now, (stays, gone))])
    await world.until(lambda: bool(leader.isr_refused))
    assert leader.isr_refused == [(PartitionId(now.topic_id, 0), now.partition_epoch)]


async def test_a_row_that_has_changed_is_no_refusal(world: World) -> None:
    active = await world.formed(1, 2, 3)
    leader, follower = world.others(active)
    based_on = await led_by(world, leader, follower, active)
    request = of(based_on, follower)
    heard = leader.links._handlers.pop(Family.RAFT)  # the change itself is on its way for a while
    leader.at_work.isr.alter_isr([request])
    await world.settle()
    assert row(active).isr == (leader.node, follower.node)
    assert row(leader).partition_epoch == based_on.partition_epoch
    leader.at_work.isr.alter_isr([request])  # a copy, of what was taken
    await world.settle()
    assert leader.isr_refused == []
    leader.links.route(Family.RAFT, heard)
    await world.until(lambda: row(leader).isr == (leader.node, follower.node))
    await world.after(2_000)
    assert leader.isr_refused == []


async def test_a_proposal_that_is_lost_with_the_controller_is_made_to_the_next(
    world: World,
) -> None:
    active = await world.formed(1, 2, 3)
    leader, follower = world.others(active)
    await led_by(world, leader, follower, active)
    active.host.stopped = True  # it lies in a buffer there, and may be decided or not
    leader.at_work.isr.alter_isr([of(version(leader), follower)])
    await world.until(lambda: active.node not in row(leader).isr)
    active.host.stopped = False
    await world.until(world.agreed)
    await world.until(lambda: row(active).isr == (leader.node, follower.node))
    assert leader.isr_refused == []


async def test_a_session_that_is_lost_shows(world: World) -> None:
    active = await world.formed(1, 2, 3)
    leader = world.others(active)[0]
    assert leader.at_work.isr.session_held()
    leader.host.cut = True
    await world.after(2_000)
    assert leader.at_work.isr.session_held()
    await world.after(600)
    assert not leader.at_work.isr.session_held()
    assert NodeId(leader.node) in active.quorum.image.brokers

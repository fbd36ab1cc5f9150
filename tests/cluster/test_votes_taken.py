"""A vote that an operator has taken stays taken: the controller does not give it back by itself."""

from collections.abc import AsyncIterator

import pytest

from model.ids import NodeId
from tests.cluster_nodes import Nodes
from tests.operator_calls import called
from tidelog.v1 import cluster_service_pb2 as wire


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        await made.until(lambda: len(made.lives[1].image.brokers) == 3)
        yield made
    finally:
        await made.close()


async def members(nodes: Nodes, at: int) -> dict[int, wire.QuorumMember]:
    answer = await called(nodes, nodes.lives[at], "GetQuorum", wire.GetQuorumRequest())
    assert isinstance(answer, wire.GetQuorumResponse)
    return {one.node_id: one for one in answer.members}


async def voters(nodes: Nodes, at: int) -> set[int]:
    return {node for node, one in (await members(nodes, at)).items() if one.voter}


async def taken(nodes: Nodes) -> tuple[int, int]:
    """Have the vote of a follower taken through the other one; return both."""
    led = nodes.lives[1].context.quorum.status.leader
    loser, other = (node for node in (1, 2, 3) if node != led)
    await called(nodes, nodes.lives[other], "RemoveVoter", wire.RemoveVoterRequest(node_id=loser))
    assert await voters(nodes, other) == {1, 2, 3} - {loser}
    return loser, other


async def test_a_vote_that_was_taken_does_not_come_back_by_itself(nodes: Nodes) -> None:
    """Not when nodes start, nor under another controller: fewer than three vote all the while."""
    loser, other = await taken(nodes)
    rest = {1, 2, 3} - {loser}
    for number in (loser, other):
        await nodes.kill(number)
        await nodes.pass_by(3_000)
        await nodes.start(number)
        await nodes.pass_by(3_000)
    led = nodes.lives[loser].context.quorum.status.leader
    assert led is not None
    await nodes.kill(led)  # alone nobody else of two decides: it comes back, in a new term
    await nodes.pass_by(3_000)
    await nodes.start(led)
    await nodes.pass_by(3_000)
    for at in nodes.lives:
        found = await members(nodes, at)
        assert {node for node, one in found.items() if one.voter} == rest
        assert {node for node, one in found.items() if one.vote_withheld} == {loser}


async def test_who_has_lost_its_vote_and_is_down_is_told_too(nodes: Nodes) -> None:
    led = nodes.lives[1].context.quorum.status.leader
    loser, other = (node for node in (1, 2, 3) if node != led)
    await nodes.kill(loser)
    await nodes.until(lambda: not nodes.lives[other].image.brokers[NodeId(loser)].standing.is_up)
    await called(nodes, nodes.lives[other], "RemoveVoter", wire.RemoveVoterRequest(node_id=loser))
    found = (await members(nodes, other))[loser]
    assert (found.voter, found.vote_withheld) == (False, True)
    await nodes.start(loser)
    await nodes.pass_by(3_000)
    found = (await members(nodes, other))[loser]
    assert (found.voter, found.vote_withheld) == (False, True)


async def test_the_operator_gives_it_again(nodes: Nodes) -> None:
    loser, other = await taken(nodes)
    await called(nodes, nodes.lives[other], "AddVoter", wire.AddVoterRequest(node_id=loser))
    found = await members(nodes, other)
    assert all(one.voter and not one.vote_withheld for one in found.values())
    assert not nodes.lives[other].image.votes_withheld


async def test_a_new_directory_is_another_member_and_gets_a_vote(nodes: Nodes) -> None:
    loser, other = await taken(nodes)
    await nodes.kill(loser)
    del nodes.disks[loser]
    await nodes.start(loser)
    await nodes.until(lambda: len(nodes.lives[other].context.quorum.status.voters) == 3)
    found = await members(nodes, other)
    assert len(found) == 3
    assert all(one.voter and not one.vote_withheld for one in found.values())

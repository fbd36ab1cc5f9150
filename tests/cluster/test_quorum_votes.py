"""Who votes on metadata: told by any node, and changed through any node, one at a time."""

from collections.abc import AsyncIterator

import pytest

from model.errors import ErrorCode
from tests.cluster_nodes import Nodes
from tests.operator_calls import called, refused
from tidelog.v1 import cluster_service_pb2 as wire


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


@pytest.fixture
async def four() -> AsyncIterator[Nodes]:
    made = Nodes(4)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def quorum(nodes: Nodes, at: int) -> wire.GetQuorumResponse:
    answer = await called(nodes, nodes.lives[at], "GetQuorum", wire.GetQuorumRequest())
    found: wire.GetQuorumResponse = answer
    return found


async def test_the_quorum_is_told_as_its_leader_sees_it_by_any_node(nodes: Nodes) -> None:
    for at in nodes.lives:
        found = await quorum(nodes, at)
        assert found.HasField("leader_id")
        assert [one.node_id for one in found.members] == [1, 2, 3]
        assert all(one.voter and one.endpoint for one in found.members)
        assert all(one.HasField("log_end_offset") for one in found.members)
        assert all(one.since_last_contact.ToMilliseconds() < 500 for one in found.members)
        assert found.commit_offset > 0 < found.term


async def test_a_vote_is_taken_and_given_through_any_node(four: Nodes) -> None:
    await four.until(lambda: len(four.lives[1].image.brokers) == 4)
    found = await quorum(four, 1)
    assert sum(one.voter for one in found.members) == 4
    leader = found.leader_id
    other = next(node for node in (4, 3, 2) if node != leader)
    via = next(node for node in (1, 2, 3) if node not in {leader, other})
    await called(four, four.lives[via], "RemoveVoter", wire.RemoveVoterRequest(node_id=other))
    found = await quorum(four, via)
    assert sorted(one.node_id for one in found.members if one.voter) == sorted(
        {1, 2, 3, 4} - {other}
    )
    no = await refused(four, four.lives[via], "RemoveVoter", wire.RemoveVoterRequest(node_id=other))
    assert no.code is ErrorCode.UNKNOWN_VOTER
    await called(four, four.lives[via], "AddVoter", wire.AddVoterRequest(node_id=other))
    found = await quorum(four, via)
    assert sorted(one.node_id for one in found.members if one.voter) == [1, 2, 3, 4]
    no = await refused(four, four.lives[via], "AddVoter", wire.AddVoterRequest(node_id=other))
    assert no.code is ErrorCode.DUPLICATE_VOTER


async def test_the_leader_of_the_quorum_hands_over_before_it_loses_its_vote(four: Nodes) -> None:
    await four.until(lambda: len(four.lives[1].image.brokers) == 4)
    leader = (await quorum(four, 1)).leader_id
    for via in (leader, next(node for node in (1, 2) if node != leader)):
        leader = (await quorum(four, via)).leader_id
        await called(four, four.lives[via], "RemoveVoter", wire.RemoveVoterRequest(node_id=leader))
        found = await quorum(four, via)
        assert leader not in {one.node_id for one in found.members if one.voter}
        assert found.leader_id != leader


async def test_the_vote_that_all_others_need_is_not_taken(nodes: Nodes) -> None:
    leader = (await quorum(nodes, 1)).leader_id
    dead, alive = (node for node in (1, 2, 3) if node != leader)
    await nodes.kill(dead)
    await nodes.until(lambda: dead in nodes.lives[leader].context.quorum.status.unheard)
    await nodes.pass_by(2_000)
    for vote in (alive, leader):  # who leads hands over first: its heir must know no less
        request = wire.RemoveVoterRequest(node_id=vote)
        no = await refused(nodes, nodes.lives[alive], "RemoveVoter", request)
        assert no.code is ErrorCode.POLICY_VIOLATION
        assert "nothing could be decided any more" in no.detail


async def test_a_node_that_is_not_what_it_is_taken_for_gets_no_vote(nodes: Nodes) -> None:
    unknown = await refused(nodes, nodes.lives[1], "AddVoter", wire.AddVoterRequest(node_id=9))
    assert unknown.code is ErrorCode.UNKNOWN_BROKER
    other = wire.RemoveVoterRequest(node_id=2, directory_id="00" * 16)
    no = await refused(nodes, nodes.lives[1], "RemoveVoter", other)
    assert (no.code, no.metadata["field"]) == (ErrorCode.INVALID_REQUEST, "directory_id")
    for request in (wire.AddVoterRequest(), wire.AddVoterRequest(node_id=-1)):
        no = await refused(nodes, nodes.lives[1], "AddVoter", request)
        assert (no.code, no.metadata["field"]) == (ErrorCode.INVALID_REQUEST, "node_id")

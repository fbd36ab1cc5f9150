"""What operators command: who asked is on record, and what is refused has changed nothing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from api.broker.leaderships import Leaderships
from api.broker.quorum import Quorum
from api.node.log_events import EVENTS
from cluster.controller.quorum_status import QuorumMember, QuorumStatus
from model.errors import ErrorCode, RequestError
from model.ids import Index, NodeId, Term
from model.principal import ANONYMOUS
from tests.world import Log

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
UNTOLD = RequestError(ErrorCode.REQUEST_TIMED_OUT, "no answer within 30000 ms")


def elect(log: Log, answer: Any) -> "asyncio.Task[Any]":
    async def propose(_: Any) -> Any:
        return await answer()

    context: Any = SimpleNamespace(note=log, quorum=SimpleNamespace(propose=propose))
    work = Leaderships(context).elect_unclean(ANONYMOUS, "orders", 0, replica=TWO)
    return asyncio.ensure_future(work)


async def test_who_forced_an_election_is_logged_though_nobody_hears_what_became_of_it() -> None:
    """P14: the one command by which acknowledged records are lost."""
    log = Log()

    async def untold() -> None:
        raise UNTOLD

    with pytest.raises(RequestError):
        await elect(log, untold)
    assert [event for event, _ in log.lines] == [
        "unclean_election_asked",
        "unclean_election_failed",
    ]
    (_, asked), (_, failed) = log.lines
    assert (asked["leader"], asked["client"]) == (TWO, ANONYMOUS.name)
    assert failed["outcome"] == "unknown"
    assert {event for event, _ in log.lines} <= EVENTS.keys()


async def test_who_hangs_up_in_the_middle_of_it_is_logged_too() -> None:
    log = Log()
    asking = elect(log, asyncio.Event().wait)
    await asyncio.wait([asking], timeout=0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [event for event, _ in log.lines] == ["unclean_election_asked"]


class Port:
    """A quorum of three that node 1 leads, of which this node hears some."""

    def __init__(self, *heard: NodeId) -> None:
        members = tuple(
            QuorumMember(node, bytes(16), votes=True, is_heard=node in heard)
            for node in (ONE, TWO, THREE)
        )
        self.status = QuorumStatus(Term(1), ONE, Index(1), members)
        self.done: list[str] = []

    async def transfer_leadership(self, to: NodeId) -> None:
        self.done.append(f"leadership to {to}")

    async def change_voters(self, add: tuple[NodeId, ...], remove: tuple[NodeId, ...]) -> None:
        del add
        self.done.append(f"without {remove[0]}")


@pytest.mark.parametrize(
    ("heard", "done"),
    [
        ((ONE, TWO, THREE), ["leadership to 2", "without 1"]),
        ((ONE, TWO), ["without 1"]),
        ((ONE,), ["without 1"]),
    ],
)
async def test_the_leadership_stays_where_a_removal_will_be_refused(
    heard: tuple[NodeId, ...], done: list[str]
) -> None:
    """Two voters of which one is not heard could decide nothing: the quorum refuses that."""
    port = Port(*heard)
    context: Any = SimpleNamespace(quorum=port)
    await Quorum(context).remove_voter(ANONYMOUS, ONE, None)
    assert port.done == done

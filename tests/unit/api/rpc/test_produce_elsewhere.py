"""What a client is told whose batch met a leadership that moved while it waited."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.broker.acks import Produced
from api.broker.forward import Forwarding
from api.broker.memory import MemoryBudget
from api.rpc.call import Call
from api.rpc.produce_elsewhere import Offered, ProduceElsewhere
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, NodeId, Offset
from model.principal import ANONYMOUS
from tidelog.v1 import common_pb2, log_service_pb2

MOVED = RequestError(ErrorCode.NOT_LEADER, "node 3 leads it", leader="3")
AWAY = RequestError(ErrorCode.NODE_UNREACHABLE, "node 2 was not reached: no link is up", node="2")
UPSTREAM = RequestError(ErrorCode.UPSTREAM_LOST, "the link to node 2 is lost", node="2")
LOST = RequestError(ErrorCode.LEADERSHIP_LOST, "nobody knows")


def told(outcome: Any, *, brought_by: NodeId | None = None) -> str:
    """Return the reason in the row of a batch that this node had taken."""
    request = log_service_pb2.ProduceRequest()
    request.batches.add(topic="orders", partition=0)
    answer = log_service_pb2.ProduceResponse()
    broker: Any = SimpleNamespace(context=SimpleNamespace(forwarding=object()))
    call = Call("LogService/Produce", ANONYMOUS, None, brought_by)
    offered = Offered(request, answer)
    ProduceElsewhere(broker, request, call, offered=offered).done(0, outcome)
    return answer.results[0].error.reason


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(MOVED, "LEADER_NOT_AVAILABLE"), (LOST, "LEADERSHIP_LOST")],
)
async def test_a_client_is_told_to_ask_again_and_never_whom(
    outcome: RequestError, reason: str
) -> None:
    """It may have asked any node: who leads is no business of its own."""
    assert told(outcome) == reason


async def test_the_node_that_has_brought_a_call_is_told_who_leads() -> None:
    assert told(MOVED, brought_by=NodeId(2)) == "NOT_LEADER"


@pytest.mark.parametrize(
    ("refusal", "controller", "told"),
    [
        (AWAY, None, ("NO_QUORUM", common_pb2.OUTCOME_NOT_DONE)),
        (AWAY, 3, ("NODE_UNREACHABLE", common_pb2.OUTCOME_NOT_DONE)),
        (MOVED, None, ("LEADER_NOT_AVAILABLE", common_pb2.OUTCOME_NOT_DONE)),
        (UPSTREAM, None, ("UPSTREAM_LOST", common_pb2.OUTCOME_UNKNOWN)),
    ],
)
async def test_a_leader_that_is_not_reached_has_no_successor_without_a_quorum(
    refusal: RequestError, controller: int | None, told: tuple[str, int]
) -> None:
    error = (await elsewhere(refusal, controller)).results[0].error
    assert (error.reason, error.outcome) == told
    assert ("nobody leads the controllers" in error.message) == (error.reason == "NO_QUORUM")


async def elsewhere(
    refusal: RequestError, controller: int | None
) -> log_service_pb2.ProduceResponse:
    """Send a batch of a partition that node 2 leads; its link refuses it."""

    class Links:
        async def ask(self, node: NodeId, encode: object, *, timeout_ms: int) -> Any:
            assert node == 2
            raise refusal

    works: list[Any] = []
    spawn: Any = SimpleNamespace(start=lambda work, name: works.append(work))
    forwarding = Forwarding(
        NodeId(1),
        Links(),
        spawn,
        controller=lambda: None if controller is None else NodeId(controller),
    )
    row = SimpleNamespace(leader=NodeId(2))
    image = SimpleNamespace(topics={"orders": SimpleNamespace(partitions=[row])})
    context = SimpleNamespace(forwarding=forwarding, spawn=spawn, memory=MemoryBudget(1_000))
    request = log_service_pb2.ProduceRequest()
    request.batches.add(topic="orders", partition=0)
    answer = log_service_pb2.ProduceResponse()
    offered = Offered(request, answer)
    away = ProduceElsewhere(
        cast(Any, SimpleNamespace(context=context, image=image)),
        request,
        Call("LogService/Produce", ANONYMOUS, None, None),
        offered=offered,
    )
    assert away.takes(0, 0)
    away.send(1_000)
    (work,) = works
    await work
    return await offered.answer


async def test_what_is_done_is_no_refusal() -> None:
    done = Produced(Offset(0), AppendTimeMs(1), Offset(0), duplicate=False, log_append_time=False)
    assert told(done) == ""

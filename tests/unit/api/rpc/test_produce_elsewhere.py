"""What a client is told whose batch met a leadership that moved while it waited."""

from types import SimpleNamespace
from typing import Any

import pytest

from api.broker.acks import Produced
from api.rpc.call import Call
from api.rpc.produce_elsewhere import Offered, ProduceElsewhere
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, NodeId, Offset
from model.principal import ANONYMOUS
from tidelog.v1 import log_service_pb2

MOVED = RequestError(ErrorCode.NOT_LEADER, "node 3 leads it", leader="3")
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


async def test_what_is_done_is_no_refusal() -> None:
    done = Produced(Offset(0), AppendTimeMs(1), Offset(0), duplicate=False, log_append_time=False)
    assert told(done) == ""

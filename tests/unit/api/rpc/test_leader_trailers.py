"""Clients are told which node they could have asked themselves, and how to reach it."""

from dataclasses import replace
from typing import Any

import pytest

from api.rpc.call import Call
from api.rpc.details import record_error
from api.rpc.leader_trailers import LEADER, Leaders, endpoint_of, name_endpoints, with_endpoint
from cluster.controller.image import BrokerImage, Endpoint, MetadataImage
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, RegistrationEpoch
from model.limits import LEADER_TRAILERS_MAX
from model.principal import ANONYMOUS
from tidelog.v1 import log_service_pb2

TWO, THREE = NodeId(2), NodeId(3)


def image(*endpoints: Endpoint) -> MetadataImage:
    broker: Any = BrokerImage(
        node=TWO,
        directory=bytes(16),
        registration_epoch=RegistrationEpoch(1),
        endpoints=endpoints,
        rack=None,
        version="test",
    )
    return replace(MetadataImage(), brokers={TWO: broker})


KNOWN = image(Endpoint("kafka", "n2", 9_092), Endpoint("grpc", "n2", 9_095))


def test_each_partition_that_went_elsewhere_has_its_leader_and_its_address() -> None:
    leaders = Leaders()
    assert not leaders.are_known
    leaders.note("orders", 3, TWO)
    leaders.note("orders", 4, THREE)
    assert leaders.trailers(KNOWN) == ((LEADER, "orders/3=2@n2:9095"),)
    leaders.note("orders", 4, TWO)
    assert dict(leaders.trailers(KNOWN)[1:]) == {LEADER: "orders/4=2@n2:9095"}


def test_their_number_is_bounded() -> None:
    leaders = Leaders()
    for number in range(100):
        leaders.note("orders", number, TWO)
    assert len(leaders.trailers(KNOWN)) == LEADER_TRAILERS_MAX.value == 16


def test_calls_do_not_share_what_they_are_told() -> None:
    first, second = (Call("LogService/Fetch", ANONYMOUS, None) for _ in range(2))
    first.leaders.note("orders", 0, TWO)
    assert not second.leaders.are_known


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        (Endpoint("grpc", "n2", 9_095), "n2:9095"),
        (Endpoint("grpc", "::1", 9_095), "[::1]:9095"),
        (Endpoint("kafka", "n2", 9_092), None),
    ],
)
def test_an_address_is_that_of_the_grpc_listener(endpoint: Endpoint, told: str | None) -> None:
    assert endpoint_of(image(endpoint), TWO) == told
    assert endpoint_of(image(endpoint), THREE) is None


def refusal(code: ErrorCode, leader: str = "2") -> RequestError:
    return RequestError(code, "elsewhere", retry_delay_ms=7, leader=leader)


@pytest.mark.parametrize("code", [ErrorCode.NOT_LEADER, ErrorCode.NOT_COORDINATOR])
def test_a_refusal_that_names_a_node_gets_its_address(code: ErrorCode) -> None:
    told = with_endpoint(KNOWN, refusal(code))
    assert (told.code, told.retry_delay_ms) == (code, 7)
    assert told.metadata == {"leader": "2", "endpoint": "n2:9095"}
    assert "endpoint" not in with_endpoint(KNOWN, refusal(code, leader="3")).metadata
    assert "endpoint" not in with_endpoint(KNOWN, refusal(code, leader="x")).metadata


def test_other_refusals_stay_as_they_are() -> None:
    same = refusal(ErrorCode.LEADER_NOT_AVAILABLE)
    assert with_endpoint(KNOWN, same) is same


def test_refused_rows_get_it_however_deep_they_lie() -> None:
    answer = log_service_pb2.ProduceStreamResponse(correlation_id=1)
    for code in (ErrorCode.NOT_LEADER, ErrorCode.RECORD_TOO_LARGE):
        answer.produce.results.add().error.CopyFrom(record_error(refusal(code)))
    name_endpoints(KNOWN, answer)
    rows = answer.produce.results
    assert rows[0].error.metadata["endpoint"] == "n2:9095"
    assert "endpoint" not in rows[1].error.metadata

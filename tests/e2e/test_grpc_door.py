"""The gRPC door: what is not served says so, who may come in, bugs, health, the end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from api.door import Address, DoorTaken
from api.node.system_rand import SystemRand
from api.rpc.server import GrpcDoor
from api.rpc.surface import services
from api.rpc_surface import SERVED, STEPS
from model.limits import GRPC_REQUEST_BYTES_MAX, STREAMS_PER_CONNECTION_MAX
from tests.grpc_node import GrpcNode, grpc_node, plain, refusal
from tests.grpc_reading import Fetch
from tests.world import Log
from tidelog.v1 import cluster_service_pb2, common_pb2, log_service_pb2, topic_service_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def raw_call(channel: Any, name: str, method: Any) -> Any:
    """Call a method with an empty request, by its shape."""
    request = GetMessageClass(method.input_type)()
    codings = {
        "request_serializer": GetMessageClass(method.input_type).SerializeToString,
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
    path = f"/tidelog.v1.{name}"
    match method.client_streaming, method.server_streaming:
        case False, False:
            return channel.unary_unary(path, **codings)(request)
        case False, True:
            return channel.unary_stream(path, **codings)(request)
        case True, True:
            return channel.stream_stream(path, **codings)(iter([request]))
        case _:
            return channel.stream_unary(path, **codings)(iter([request]))


async def test_every_call_that_is_not_served_names_its_step(served: GrpcNode) -> None:
    asked = 0
    for service in services():
        for method in service.methods:
            name = f"{service.name}/{method.name}"
            if name in SERVED:
                continue
            found = await refusal(raw_call(served.channel, name, method))
            assert (found.code, found.reason) == (StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
            assert found.info.metadata["call"] == name
            assert found.info.metadata["step"] == str(STEPS[name].value)
            asked += 1
    assert asked == len(STEPS) - len(SERVED) > 20


async def test_calls_that_nobody_knows(served: GrpcNode) -> None:
    channel: Any = served.channel
    ours = channel.unary_unary("/tidelog.v1.LogService/Dance")
    assert (await refusal(ours(b""))).reason == "NOT_IMPLEMENTED"
    with pytest.raises(aio.AioRpcError) as caught:
        await channel.unary_unary("/other.v1.Service/Call")(b"")
    assert caught.value.code() is StatusCode.UNIMPLEMENTED


async def test_a_call_for_another_cluster_is_refused(served: GrpcNode) -> None:
    request = cluster_service_pb2.GetClusterRequest()
    found = await refusal(
        served.clusters.GetCluster(request, metadata=(("tidelog-cluster-id", "elsewhere"),))
    )
    assert (found.code, found.reason) == (StatusCode.FAILED_PRECONDITION, "WRONG_CLUSTER")
    assert found.info.metadata["wanted"] == "elsewhere"
    right = (("tidelog-cluster-id", served.node.broker.cluster_id), ("tidelog-no-forward", "1"))
    await served.clusters.GetCluster(request, metadata=right)


async def test_a_bug_has_an_id_and_shows_nothing(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise ZeroDivisionError("the secret of /etc/passwd")

    monkeypatch.setattr(served.node.broker, "cluster", broken)
    found = await refusal(served.clusters.GetCluster(cluster_service_pb2.GetClusterRequest()))
    assert (found.code, found.reason) == (StatusCode.INTERNAL, "INTERNAL")
    assert found.info.metadata["outcome"] == "UNKNOWN"
    assert "secret" not in found.text
    assert "Traceback" not in found.text
    ((event, fields),) = served.log.lines
    assert (event, fields["id"]) == ("request_failed", found.info.metadata["id"])
    assert found.info.metadata["id"] in found.text
    assert "test_grpc_door.py" in str(fields["at"])
    assert served.door.counters.bugs == 1


async def test_requests_above_the_limit_are_refused_by_the_transport(served: GrpcNode) -> None:
    await served.create("orders")
    huge = log_service_pb2.ProduceBatch(topic="orders", encoded=bytes(GRPC_REQUEST_BYTES_MAX.value))
    with pytest.raises(aio.AioRpcError) as caught:
        await served.logs.Produce(log_service_pb2.ProduceRequest(batches=[huge]))
    assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
    await served.produce("orders", plain(b"still here"))


async def test_one_connection_has_so_many_streams(served: GrpcNode) -> None:
    await served.create("orders")
    request = log_service_pb2.SubscribeRequest(topics=["orders"])
    streams = [served.logs.Subscribe(request) for _ in range(STREAMS_PER_CONNECTION_MAX.value)]
    for stream in streams:
        await anext(aiter(stream))
    with pytest.raises(aio.AioRpcError) as caught:
        await served.clusters.GetCluster(cluster_service_pb2.GetClusterRequest(), timeout=0.2)
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    streams.pop().cancel()
    await served.turn()
    for stream in streams:
        stream.cancel()


async def test_a_port_that_is_taken(served: GrpcNode, capfd: pytest.CaptureFixture[str]) -> None:
    second = GrpcDoor(
        served.node.broker, served.address, reflection=False, rand=SystemRand(), note=Log()
    )
    with pytest.raises(DoorTaken) as caught:
        await second.start()
    assert caught.value.address == served.address
    host, port = served.address
    assert str(caught.value) == f"grpc: cannot listen on {host}:{port}: Address already in use"
    assert capfd.readouterr().err == ""
    await second.stop()
    foreign = GrpcDoor(
        served.node.broker,
        Address("203.0.113.1", 0),
        reflection=False,
        rand=SystemRand(),
        note=Log(),
    )
    with pytest.raises(DoorTaken, match=r"203.0.113.1:0: Cannot assign requested address$"):
        await foreign.start()
    assert capfd.readouterr().err == ""


async def test_health(served: GrpcNode) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    for name in ("", "tidelog.v1.LogService", "tidelog.v1.TopicService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == SERVING
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="tidelog.v1.LogService"))
    seen = aiter(watch)
    assert (await anext(seen)).status == SERVING
    await served.door.drain()
    assert (await anext(seen)).status == NOT_SERVING


async def test_reflection_by_setting(tmp_path: Path) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    for switched_on in (True, False):
        async with grpc_node(tmp_path / str(switched_on), reflection=switched_on) as served:
            stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
            call = stub.ServerReflectionInfo(iter([request]))
            if switched_on:
                answer = await anext(aiter(call))
                names = {one.name for one in answer.list_services_response.service}
                assert {"tidelog.v1.LogService", "grpc.health.v1.Health"} <= names
                symbol = reflection_pb2.ServerReflectionRequest(
                    file_containing_symbol="tidelog.v1.LogService"
                )
                found = await anext(aiter(stub.ServerReflectionInfo(iter([symbol]))))
                assert found.file_descriptor_response.file_descriptor_proto
            else:
                with pytest.raises(aio.AioRpcError):
                    await anext(aiter(call))


async def test_a_node_that_stops_says_so_to_everybody(served: GrpcNode) -> None:
    await served.create("orders")
    tail = served.logs.Subscribe(log_service_pb2.SubscribeRequest(topics=["orders"]))
    await anext(aiter(tail))
    poll = served.logs.Fetch(
        Fetch(cursors=[common_pb2.Cursor(topic="orders")], min_bytes=1, max_wait={"seconds": 30})
    )
    waiting = served.node.broker.partition("orders", 0).committed_acks
    while len(waiting) < 2:
        await served.turn()
    await served.door.drain()
    for call in (
        tail,
        poll,
        served.topics.GetTopic(topic_service_pb2.GetTopicRequest(name="orders")),
    ):
        found = await refusal(call)
        assert (found.code, found.reason) == (StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        assert (found.info.metadata["outcome"], found.info.metadata["retryable"]) == (
            "NOT_DONE",
            "true",
        )
        assert found.retry is not None
    assert len(waiting) == 0


async def test_appends_under_way_are_answered_when_the_node_stops(served: GrpcNode) -> None:
    await served.create("orders")
    calls = [
        asyncio.ensure_future(served.produce("orders", plain(b"%d" % number)))
        for number in range(20)
    ]
    partition = served.node.broker.partition("orders", 0)
    while partition.log.log_end == 0:
        await served.turn()
    await served.door.drain()
    await served.node.settle()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    done = [one for one in outcomes if not isinstance(one, BaseException)]
    assert sorted(one[0].base_offset for one in done) == list(range(partition.log.log_end))
    assert len(done) >= 1
    for one in outcomes:
        assert not isinstance(one, BaseException) or isinstance(one, aio.AioRpcError)


async def test_an_expired_deadline_leaves_nothing_behind(served: GrpcNode) -> None:
    await served.create("orders")
    with pytest.raises(aio.AioRpcError) as caught:
        await served.logs.Fetch(
            Fetch(
                cursors=[common_pb2.Cursor(topic="orders")], min_bytes=1, max_wait={"seconds": 30}
            ),
            timeout=0.05,
        )
    # The node answers in time, or the deadline was there first: never later.
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    while served.door.counters.running:
        await served.turn()
    assert len(served.node.broker.partition("orders", 0).committed_acks) == 0
    assert served.log.lines == []

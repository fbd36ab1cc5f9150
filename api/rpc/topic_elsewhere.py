"""What only the leaders of a topic's partitions can say or do: asked of each for its own."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Final, TypeAlias

from api.broker.broker import Broker
from api.broker.forward import passing
from api.broker.place import AtTime, Place
from api.rpc.answers import check_rows, passed, read_answer
from api.rpc.call import Call
from api.rpc.cluster_elsewhere import called, part_of
from api.rpc.convert import timestamp, uuid_text
from api.rpc.details import record_error
from cluster.controller.image import TopicImage
from model.errors import RequestError
from model.ids import NodeId
from tidelog.v1 import topic_service_pb2

_Ask: TypeAlias = Callable[[NodeId, list[int]], Coroutine[object, object, None]]

GET: Final = "TopicService/GetTopic"
TRIM: Final = "TopicService/TrimTopic"
TRIM_MS: Final = 10_000
"""For what a leader trims, the way included."""


async def partitions_elsewhere(
    broker: Broker, topic: TopicImage, request: topic_service_pb2.GetTopicRequest, *, call: Call
) -> Mapping[int, topic_service_pb2.Partition]:
    """Return the partitions that other nodes lead, by number, as far as these answer in time.

    Of the others the ends are not told: a follower's are behind, and nobody could tell.
    """
    found: dict[int, topic_service_pb2.Partition] = {}

    async def ask(node: NodeId, numbers: list[int]) -> None:
        try:
            answer = await called(broker, node, GET, request=request, principal=call.principal)
            told = read_answer(node, topic_service_pb2.GetTopicResponse, answer).topic
        except RequestError:
            return
        if told.topic_id == uuid_text(topic.topic_id):
            found.update((one.id, one) for one in told.partitions if one.id in numbers)

    await _each(broker, topic.name, range(len(topic.partitions)), call=call, ask=ask)
    return found


async def trimmed_elsewhere(
    broker: Broker,
    request: topic_service_pb2.TrimTopicRequest,
    before: Place,
    *,
    call: Call,
    numbers: Iterable[int],
) -> dict[int, topic_service_pb2.TrimTopicResponse.Trimmed]:
    """Have other nodes trim what they lead; return the rows, by number.

    `before`: what the request's place means on this node's clock. Each node has a time of its own:
    of one that does not answer it is not known what it did, and the others' rows are told.
    """
    rows: dict[int, topic_service_pb2.TrimTopicResponse.Trimmed] = {}
    forwarding = broker.context.forwarding
    if forwarding is None:
        return rows

    async def ask(node: NodeId, mine: list[int]) -> None:
        wanted = topic_service_pb2.TrimTopicRequest()
        wanted.CopyFrom(request)
        wanted.ClearField("partitions")
        wanted.partitions.extend(mine)
        if isinstance(before, AtTime):
            wanted.before.time.CopyFrom(timestamp(before.time_ms))
        try:
            answer = await part_of(
                forwarding, node, TRIM, request=wanted, call=call, part_ms=TRIM_MS
            )
            told = read_answer(node, topic_service_pb2.TrimTopicResponse, answer)
            trimmed = [row for row in told.trimmed if row.partition in mine]
            check_rows(node, trimmed, len(mine))
        except RequestError as refusal:
            for number in mine:
                rows[number] = _refused(number, refusal)
            return
        for row in trimmed:
            if row.HasField("error"):
                row.error.CopyFrom(passed(row.error))
            rows[row.partition] = row

    await _each(broker, request.name, numbers, call=call, ask=ask)
    return rows


def _refused(number: int, refusal: RequestError) -> topic_service_pb2.TrimTopicResponse.Trimmed:
    error = record_error(passing(refusal))
    return topic_service_pb2.TrimTopicResponse.Trimmed(partition=number, error=error)


async def _each(
    broker: Broker, topic: str, numbers: Iterable[int], *, call: Call, ask: _Ask
) -> None:
    """Ask every other node that leads some of these partitions, all at once."""
    forwarding = broker.context.forwarding
    if forwarding is None or not call.goes_on:
        return
    groups: dict[NodeId, list[int]] = {}
    for number in numbers:
        leader = forwarding.leader_elsewhere(broker.image, topic, number)
        if leader is not None:
            call.leaders.note(topic, number, leader)
            groups.setdefault(leader, []).append(number)
    async with asyncio.TaskGroup() as tasks:
        for node, mine in groups.items():
            tasks.create_task(ask(node, mine))

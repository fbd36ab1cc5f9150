"""Who is to be asked instead: a refusal names the partition's leader (KIP-951).

Produce from v10 and Fetch from v16 have tagged fields for the leader, its epoch and its address. A
client that reads them goes there at once. Any other waits for a backoff of 100 ms or more, and asks
for metadata, perhaps of a node that has not heard of the change yet.

Nobody is named whom Metadata would not name on the same listener.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from api.kafka.frame import (
    I32,
    NO_TAGS,
    SMALL_VARINTS,
    write_compact_count,
    write_compact_name,
    write_compact_text,
    write_varint,
)
from api.kafka.request import Shared
from api.kafka.whereabouts import Reached, reached
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, TopicId, TopicName

PRODUCE_FROM: Final = 10
FETCH_FROM: Final = 16
PRODUCE_TAG: Final = 0
FETCH_TAG: Final = 1
_ENDPOINTS_TAG: Final = 0
"""Of the whole answer, in both."""
_ONE_TAG: Final = SMALL_VARINTS[1]
_LEADER: Final = Struct(">ii")  # node, epoch
_ELSEWHERE: Final = frozenset({ErrorCode.NOT_LEADER, ErrorCode.FENCED_EPOCH})


class CurrentLeader(NamedTuple):
    """A partition's."""

    at: Reached
    epoch: LeaderEpoch


def current_leader(
    door: Shared, place: tuple[str | TopicId, int], refusal: object
) -> CurrentLeader | None:
    """Return who leads a partition; None: no such refusal, or nobody whom the client could ask."""
    if not isinstance(refusal, RequestError) or refusal.code not in _ELSEWHERE:
        return None
    image, (topic, number) = door.broker.image, place
    if isinstance(topic, str):
        known = image.topics.get(TopicName(topic))
    else:
        known = image.topics_by_id.get(topic)
    if known is None or number not in range(len(known.partitions)):
        return None  # it was deleted since
    row = known.partitions[number]
    at = None if row.leader is None else reached(door.broker, row.leader, door.name)
    return None if at is None else CurrentLeader(at, LeaderEpoch(row.leader_epoch))


def leader_tags(leader: CurrentLeader | None, tag: int) -> bytes:
    """Return the tagged fields of one partition's row."""
    if leader is None:
        return NO_TAGS
    return _tagged(tag, _LEADER.pack(leader.at.node_id, leader.epoch) + NO_TAGS)


def endpoint_tags(leaders: Iterable[CurrentLeader]) -> bytes:
    """Return the tagged fields of a whole answer: where the leaders in it are reached."""
    nodes = {leader.at.node_id: leader.at for leader in leaders}
    if not nodes:
        return NO_TAGS
    rows = [
        I32.pack(node)
        + write_compact_name(host.encode())
        + I32.pack(port)
        + write_compact_text(rack)
        + NO_TAGS
        for node, host, port, rack in nodes.values()
    ]
    return _tagged(_ENDPOINTS_TAG, write_compact_count(len(rows)) + b"".join(rows))


def _tagged(tag: int, body: bytes) -> bytes:
    """Return tagged fields of which there is one."""
    return _ONE_TAG + write_varint(tag) + write_varint(len(body)) + body

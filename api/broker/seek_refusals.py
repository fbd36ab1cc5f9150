"""Why a group is not sent elsewhere, and what its members are told when it is."""

from collections.abc import Sequence
from typing import Final

from api.broker.readable import Readable
from model.errors import ErrorCode, RequestError
from model.ids import GroupId

RETRY_MS: Final = 1_000


def nothing_committed(group: GroupId, partition: Readable) -> RequestError:
    """Return why a partition cannot go where another group is."""
    name = f"{partition.topic.name}/{partition.number}"
    return RequestError(
        ErrorCode.INVALID_REQUEST,
        f'group "{group}" has committed nothing in {name}; leave that partition out',
        field="other_group",
        topic=partition.topic.name,
        partition=str(partition.number),
    )


def nothing_committed_at_all(group: GroupId, partitions: Sequence[Readable]) -> RequestError:
    """Return why none of some topics can."""
    topics = sorted({one.topic.name for one in partitions})
    return RequestError(
        ErrorCode.INVALID_REQUEST,
        f'group "{group}" has committed nothing in {", ".join(topics)}',
        field="other_group",
        topic=topics[0],
    )


def moves_on(group: GroupId, tries: int) -> RequestError:
    """Return why a group is not moved of which all partitions were meant."""
    return RequestError(
        ErrorCode.OVERLOADED,
        f'group "{group}" began in further partitions each of {tries} times that the places '
        "were looked up; name the partitions, or ask again when it has begun everywhere",
        retry_delay_ms=RETRY_MS,
        group=group,
    )


def sent_elsewhere(group: GroupId) -> RequestError:
    """Return what a member is told that a seek has fenced."""
    return RequestError(
        ErrorCode.STALE_MEMBER_EPOCH,
        f'group "{group}" was sent to another place: join anew and go on from there',
        group=group,
    )

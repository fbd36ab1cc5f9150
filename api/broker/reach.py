"""How far somebody may have read of a partition: what lies beyond is no place in it.

Whoever has read up to a place above the mark goes on there, and commits it. Who only names one, as
the end of what is read or for a group to be sent to, is asked to come again: this node cannot tell
whether it will be committed, or cut off when the next leader is followed.
"""

from api.broker.readable import Readable
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.ids import Offset


def reach_of(partition: Readable) -> Offset:
    """Return the end of what anybody may have been told of, as far as can be known here.

    Where this node leads that is the end of its log, not the mark: it may be deposed and not know
    it yet, while a leader of a later epoch has committed the rest and told readers so. Whoever
    stands there waits for the mark.
    """
    mark = partition.high_watermark
    if isinstance(partition, HostedPartition) and partition.leads:
        return max(mark, partition.log.log_end)
    return mark


def check_committed(partition: Readable, offset: Offset, *, mark: Offset) -> None:
    """Refuse a place that lies above the mark: it may be committed by now, or be cut off yet.

    Raises:
        RequestError: OFFSET_NOT_AVAILABLE, to be asked again: its leader will have moved its mark,
            or another one will answer.
    """
    if offset > mark:
        raise RequestError(
            ErrorCode.OFFSET_NOT_AVAILABLE,
            f"{partition.topic.name}/{partition.number}: offset {offset} lies above {mark}, up to "
            "which the log is known to be committed here",
            topic=partition.topic.name,
            partition=str(partition.number),
            offset=str(offset),
            high_watermark=str(mark),
        )

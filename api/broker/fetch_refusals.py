"""What speaks against a read from an offset of a partition."""

from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, Offset


def deleted(partition: HostedPartition) -> RequestError:
    """Return what a reader is told whose topic went meanwhile."""
    name = partition.topic.name
    return RequestError(
        ErrorCode.UNKNOWN_TOPIC, f'topic "{name}" was deleted while it was read', topic=name
    )


def check_epoch(partition: HostedPartition, asked: int) -> None:
    """Refuse an asker whose view of the leadership differs (KIP-320).

    Raises:
        RequestError: FENCED_EPOCH, UNKNOWN_EPOCH; with both epochs.
    """
    if asked < 0 or asked == partition.leader_epoch:
        return
    code = ErrorCode.FENCED_EPOCH if asked < partition.leader_epoch else ErrorCode.UNKNOWN_EPOCH
    raise RequestError(
        code,
        f"{partition.topic.name}/{partition.number}: leader epoch {asked}, "
        f"here it is {partition.leader_epoch}",
        leader_epoch=str(LeaderEpoch(partition.leader_epoch)),
        asked_epoch=str(asked),
    )


def out_of_range(partition: HostedPartition, offset: Offset) -> RequestError:
    """Return the refusal of an offset, with both ends of the log."""
    start, mark = partition.log_start, partition.high_watermark
    return RequestError(
        ErrorCode.OFFSET_OUT_OF_RANGE,
        f"{partition.topic.name}/{partition.number}: offset {offset} is outside [{start}, {mark}]",
        topic=partition.topic.name,
        partition=str(partition.number),
        offset=str(offset),
        log_start_offset=str(start),
        high_watermark=str(mark),
    )

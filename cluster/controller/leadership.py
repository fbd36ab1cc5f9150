"""Who leads, by request: a recovered log's end is told, or a person moves or forces a leadership.

What elections do by themselves is in `cluster.controller.election`. A node tells its log end for
every partition that has no leader while it is marked there and its end is not known: the image
shows that (`unclean`). By then nothing that it receives may make the log longer or shorter.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from cluster.controller.election import Roster, forced, led_by, settled
from cluster.controller.image import LogEnd, PartitionImage, TopicImage, Unclean
from cluster.controller.partition_changes import Rows, least_in_sync, named, nodes_text, roster
from cluster.controller.records import MetadataRecord
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, NodeId, RegistrationEpoch, TopicId
from model.result import Result

MOVED_MAX: Final = 100
"""Leaderships that go back to preferred leaders in one decision: each is a short pause."""


class RecoveredLog(NamedTuple):
    """One partition of a node that has restarted unclean."""

    topic_id: TopicId
    number: int
    leader_epoch: LeaderEpoch
    """Of the row that asked for it: after an election it tells nothing any more."""
    end: LogEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class TellRecovered(Request[int]):
    """Say how far recovered logs go; answered with how many of them had been waited for."""

    node: NodeId
    registration_epoch: RegistrationEpoch
    logs: tuple[RecoveredLog, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLeader(Request[PartitionImage]):
    """Let an in-sync replica lead; answered with the row. Nothing is lost by it."""

    topic: str
    number: int
    to: NodeId
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectUnclean(Request[PartitionImage]):
    """Let any replica lead a partition that nobody can lead; what it lacks is lost (P14)."""

    topic: str
    number: int
    replica: NodeId
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectPreferred(Request[int]):
    """Give leaderships back to preferred leaders that are in sync; answered with how many moved.

    100 at most; ask again while it is not 0.
    """


def tell_recovered(
    state: MetadataState, request: TellRecovered, _: Circumstances
) -> Result[MetadataRecord, int]:
    """Decide; where this was the last end that was missing, the election is in the same records."""
    broker = state.brokers.get(request.node)
    if broker is None or broker.registration_epoch != request.registration_epoch:
        return Result((), 0)
    rows, duty = Rows(state), roster(state)
    taken = 0
    for log in request.logs:
        row = rows.get(log.topic_id, log.number)
        if row is None or row.leader is not None or row.leader_epoch != log.leader_epoch:
            continue
        if request.node in row.marked:
            told = _told(row, request.node, log.end)
            rows.put(log.topic_id, settled(told, duty, rows.least_in_sync(log.topic_id)))
            taken += 1
    return Result(rows.records(), taken)


def transfer_leader(
    state: MetadataState, request: TransferLeader, _: Circumstances
) -> Result[MetadataRecord, PartitionImage]:
    """Decide; nothing to do if it leads already.

    Raises:
        RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION; NO_ELIGIBLE_LEADER, the node is not in sync,
            or is stopping.
    """
    topic, row = named(state, request.topic, request.number)
    if row.leader == request.to:
        return Result((), row)
    duty = roster(state)
    if request.to not in row.isr or request.to not in duty.fit:
        able = [node for node in row.isr if node in duty.fit and node != row.leader]
        raise RequestError(
            ErrorCode.NO_ELIGIBLE_LEADER,
            f"node {request.to} cannot lead {topic.name}/{row.number}: only a replica that is in "
            f"sync and running can; these could: {nodes_text(able)}",
            topic=topic.name,
            partition=str(row.number),
            node=str(request.to),
            able=nodes_text(able),
        )
    after = led_by(row, request.to, duty, k=least_in_sync(topic))
    return _answered(state, topic, after, validate_only=request.validate_only)


def elect_unclean(
    state: MetadataState, request: ElectUnclean, _: Circumstances
) -> Result[MetadataRecord, PartitionImage]:
    """Decide. The row says which epoch was lossy: followers may cut below their high watermark.

    Raises:
        RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION; POLICY_VIOLATION, the partition has a
            leader; NO_ELIGIBLE_LEADER, the node holds no replica, or is not running.
    """
    topic, row = named(state, request.topic, request.number)
    place = f"{topic.name}/{row.number}"
    if row.leader is not None:
        raise RequestError(
            ErrorCode.POLICY_VIOLATION,
            f"{place} is led by node {row.leader}: an unclean election would only lose records",
            topic=topic.name,
            partition=str(row.number),
            leader=str(row.leader),
        )
    able = [node for node in row.replicas if node in roster(state).fit]
    if request.replica not in able:
        raise RequestError(
            ErrorCode.NO_ELIGIBLE_LEADER,
            f"node {request.replica} cannot lead {place}: it needs a replica there, and to be "
            f"running; these could: {nodes_text(able)}",
            topic=topic.name,
            partition=str(row.number),
            node=str(request.replica),
            able=nodes_text(able),
        )
    after = forced(row, request.replica)
    return _answered(state, topic, after, validate_only=request.validate_only)


def elect_preferred(
    state: MetadataState, _: ElectPreferred, __: Circumstances
) -> Result[MetadataRecord, int]:
    """Decide: after a restart a node leads nothing until others give back what is its own."""
    rows, duty = Rows(state), roster(state)
    moved = 0
    for topic in state.topics.values():
        for row in topic.partitions:
            if moved < MOVED_MAX and _is_misled(row, duty):
                after = led_by(row, row.replicas[0], duty, k=least_in_sync(topic))
                rows.put(topic.topic_id, after)
                moved += 1
    return Result(rows.records(), moved)


def _is_misled(row: PartitionImage, duty: Roster) -> bool:
    preferred = row.replicas[0]
    return row.leader not in {None, preferred} and preferred in row.isr and preferred in duty.fit


def _told(row: PartitionImage, node: NodeId, end: LogEnd) -> PartitionImage:
    marks = tuple(Unclean(node, end) if mark.node == node else mark for mark in row.unclean)
    return row._replace(unclean=marks)


def _answered(
    state: MetadataState, topic: TopicImage, after: PartitionImage, *, validate_only: bool
) -> Result[MetadataRecord, PartitionImage]:
    rows = Rows(state)
    row = rows.put(topic.topic_id, after)
    return Result(() if validate_only else rows.records(), row)

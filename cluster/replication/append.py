"""Whether a batch that a producer sent is appended: decided before anything is changed.

Its checksum and header are in order already (`logstore.validate`), and the asker leads the
partition. What is left: is it new, a repetition, or out of turn; and are its event times within
what the topic accepts. Only a topic that bounds event times has its batches decoded.
"""

from typing import Final, Protocol

from logstore.batch import event_times
from logstore.compression import ExpandsBeyondError
from logstore.producer_state import FRESH, ProducerState, Verdict
from logstore.settings import PartitionSettings
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import AppendTimeMs, ProducerEpoch, ProducerId, Sequence
from model.record import NO_TIMESTAMP, BatchHeader

_UNBOUNDED: Final = -1


class AppendTarget(Protocol):
    """The partition, as far as the decision needs it."""

    @property
    def settings(self) -> PartitionSettings:
        """What its topic asks for."""
        ...

    @property
    def producers(self) -> ProducerState:
        """What it knows of idempotent producers."""
        ...


def decide(
    log: AppendTarget, header: BatchHeader, records: memoryview, *, now: AppendTimeMs
) -> Verdict:
    """Return whether the batch is fresh, or where it is in the log already; changes nothing.

    `records`: the whole batch. `now`: the append time that it would get.

    Raises:
        RequestError: the producer state's refusals (PRODUCER_FENCED, OUT_OF_ORDER_SEQUENCE,
            UNKNOWN_PRODUCER_ID, DUPLICATE_SEQUENCE), TIMESTAMP_OUT_OF_RANGE; CORRUPT_BATCH if its
            records do not decode where they must.
    """
    verdict: Verdict = FRESH
    producer_id = header.producer_id
    if producer_id >= 0:
        verdict = log.producers.check(
            ProducerId(producer_id),
            ProducerEpoch(header.producer_epoch),
            Sequence(header.base_sequence),
            records=header.last_offset_delta + 1,
        )
        if verdict is not FRESH:
            return verdict
    if log.settings.bounds_event_times:
        _check_event_times(header, records, settings=log.settings, now=now)
    return verdict


def check_in_sync(*, in_sync: int, min_insync_replicas: int) -> None:
    """Accept an append that is to wait for its replicas, if there are enough of them (P2).

    Raises:
        RequestError: NOT_ENOUGH_REPLICAS, nothing was appended.
    """
    if in_sync < min_insync_replicas:
        raise RequestError(
            ErrorCode.NOT_ENOUGH_REPLICAS,
            f"{in_sync} replicas are in sync, min.insync.replicas is {min_insync_replicas}",
            in_sync=str(in_sync),
            min_insync_replicas=str(min_insync_replicas),
        )


def check_not_alone(*, alone: bool, min_insync_replicas: int) -> None:
    """Accept an append that is to wait for its replicas, if somebody would confirm it (P2).

    `alone`: as the partition's leader knows it. Taken all the same, its outcome would be unknown.

    Raises:
        RequestError: NOT_ENOUGH_REPLICAS, nothing was appended.
    """
    if alone:
        raise RequestError(
            ErrorCode.NOT_ENOUGH_REPLICAS,
            "this node is cut off: it has not heard of the controller, or of enough of the "
            f"replicas in sync, for too long; min.insync.replicas is {min_insync_replicas}",
            min_insync_replicas=str(min_insync_replicas),
        )


def _check_event_times(
    header: BatchHeader, records: memoryview, *, settings: PartitionSettings, now: AppendTimeMs
) -> None:
    """Refuse a batch with a record outside the topic's bounds. Times of -1 are none."""
    _check_time(header.event_time_max, settings, now)  # a claim, but it refuses without decoding
    try:
        bounds = event_times(records)
    except ExpandsBeyondError as beyond:
        raise RequestError(
            ErrorCode.TIMESTAMP_OUT_OF_RANGE,
            f"the topic bounds event times, and those of this batch cannot be read: {beyond}",
        ) from beyond
    except MalformedError as malformed:
        raise RequestError(ErrorCode.CORRUPT_BATCH, str(malformed)) from malformed
    for time_ms in bounds or ():
        _check_time(time_ms, settings, now)


def _check_time(time_ms: int, settings: PartitionSettings, now: AppendTimeMs) -> None:
    """Refuse an event time that is too far from the append time."""
    if time_ms == NO_TIMESTAMP:
        return
    future, past = settings.future_max_ms, settings.past_max_ms
    latest = None if future == _UNBOUNDED else now + future
    earliest = 0 if past == _UNBOUNDED else max(0, now - past)
    if time_ms < earliest or (latest is not None and time_ms > latest):
        raise RequestError(
            ErrorCode.TIMESTAMP_OUT_OF_RANGE,
            f"event time {time_ms} is outside {earliest}..{'' if latest is None else latest}, "
            f"the topic's bounds around the append time {now}",
            timestamp=str(time_ms),
            append_time=str(now),
            earliest=str(earliest),
            latest="" if latest is None else str(latest),
        )

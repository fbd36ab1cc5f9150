"""Which batches are appended: sequences, and event times within the topic's bounds."""

from dataclasses import dataclass, field, replace

import pytest

from cluster.replication.append import check_in_sync, check_not_alone, decide
from logstore.batch import encode_batch
from logstore.producer_state import FRESH, Duplicate, ProducerState, Remembered
from logstore.settings import PartitionSettings
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset, ProducerEpoch, ProducerId, Sequence
from model.record import BatchHeader, NewRecord

NOW = AppendTimeMs(1_000_000)
BOUNDED = PartitionSettings(future_max_ms=1_000, past_max_ms=5_000)


@dataclass
class Target:
    """A partition that knows producer 7, epoch 1, up to sequence 3."""

    settings: PartitionSettings = field(default_factory=PartitionSettings)
    producers: ProducerState = field(
        default_factory=lambda: ProducerState(limit=10, expiration_ms=1_000)
    )

    def __post_init__(self) -> None:
        batch = Remembered(Sequence(0), 3, Offset(40), AppendTimeMs(990))
        self.producers.appended(ProducerId(7), ProducerEpoch(1), batch)


def batch(
    *times: int, producer: int = -1, epoch: int = 0, sequence: int = 0, compression: int = 0
) -> bytearray:
    records = [NewRecord(time, None, b"v") for time in times]
    return encode_batch(
        records,
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        compression=compression,
    )


def decided(content: bytearray, target: Target) -> object:
    """Return the verdict, or the refusal's name."""
    view = memoryview(content)
    try:
        return decide(target, BatchHeader(view), view, now=NOW)
    except RequestError as refused:
        return refused.code.name


def test_without_a_producer_id_every_batch_is_fresh() -> None:
    target = Target()
    assert decided(batch(1, 2), target) is FRESH
    assert decided(batch(1, 2), target) is FRESH


@pytest.mark.parametrize(
    ("sequence", "epoch", "verdict"),
    [
        (3, 1, FRESH),
        (0, 1, Duplicate(Offset(40), Offset(43), AppendTimeMs(990))),
        (4, 1, "OUT_OF_ORDER_SEQUENCE"),
        (3, 0, "PRODUCER_FENCED"),
        (0, 2, FRESH),
        (1, 2, "OUT_OF_ORDER_SEQUENCE"),
    ],
)
def test_a_producers_sequence_decides(sequence: int, epoch: int, verdict: object) -> None:
    assert decided(batch(1, 2, 3, producer=7, epoch=epoch, sequence=sequence), Target()) == verdict


def test_a_producer_that_is_not_known_begins_at_zero() -> None:
    assert decided(batch(1, producer=8), Target()) is FRESH
    assert decided(batch(1, producer=8, sequence=1), Target()) == "UNKNOWN_PRODUCER_ID"


def test_a_repeated_batch_is_not_judged_by_its_times_again() -> None:
    late = Target(settings=BOUNDED)
    again = batch(1, 2, 3, producer=7, epoch=1)
    assert isinstance(decided(again, late), Duplicate)


@pytest.mark.parametrize("compression", [0, 1, 4])
@pytest.mark.parametrize(
    ("time", "accepted"),
    [
        (NOW, True),
        (NOW + 1_000, True),
        (NOW + 1_001, False),
        (NOW - 5_000, True),
        (NOW - 5_001, False),
        (-1, True),
        (-2, False),
    ],
)
def test_event_times_lie_within_the_topics_bounds(
    time: int, accepted: bool, compression: int
) -> None:
    content = batch(NOW, time, NOW, compression=compression)
    verdict = FRESH if accepted else "TIMESTAMP_OUT_OF_RANGE"
    assert decided(content, Target(settings=BOUNDED)) == verdict
    assert decided(content, Target()) is FRESH
    stamped = replace(BOUNDED, log_append_time=True)
    assert decided(content, Target(settings=stamped)) is FRESH


@pytest.mark.parametrize(
    ("settings", "time", "verdict"),
    [
        (PartitionSettings(future_max_ms=0), NOW + 1, "TIMESTAMP_OUT_OF_RANGE"),
        (PartitionSettings(future_max_ms=0), 0, FRESH),
        (PartitionSettings(past_max_ms=0), NOW - 1, "TIMESTAMP_OUT_OF_RANGE"),
        (PartitionSettings(past_max_ms=0), NOW * 9, FRESH),
    ],
)
def test_each_bound_stands_alone(settings: PartitionSettings, time: int, verdict: object) -> None:
    assert decided(batch(time), Target(settings=settings)) == verdict


def test_a_header_that_lies_does_not_help() -> None:
    """The claim of the greatest event time is not what counts."""
    content = batch(NOW, NOW + 9_999)
    content[35:43] = NOW.to_bytes(8, "big")
    assert decided(content, Target(settings=BOUNDED)) == "TIMESTAMP_OUT_OF_RANGE"


def test_records_that_do_not_decode_are_refused_where_they_must() -> None:
    content = batch(NOW, NOW)
    content[61] = 0xFF
    assert decided(content, Target(settings=BOUNDED)) == "CORRUPT_BATCH"
    bomb = encode_batch([NewRecord(NOW, None, bytes(65 << 20))], compression=1)
    assert decided(bomb, Target(settings=BOUNDED)) == "TIMESTAMP_OUT_OF_RANGE"


def test_who_is_cut_off_refuses_before_anything_is_appended() -> None:
    check_not_alone(alone=False, min_insync_replicas=2)
    with pytest.raises(RequestError, match="this node is cut off") as refused:
        check_not_alone(alone=True, min_insync_replicas=2)
    assert refused.value.code is ErrorCode.NOT_ENOUGH_REPLICAS
    assert refused.value.metadata == {"min_insync_replicas": "2"}


def test_too_few_in_sync_is_refused_before_anything_is_appended() -> None:
    check_in_sync(in_sync=2, min_insync_replicas=2)
    with pytest.raises(RequestError, match="1 replicas are in sync") as refused:
        check_in_sync(in_sync=1, min_insync_replicas=2)
    assert refused.value.code is ErrorCode.NOT_ENOUGH_REPLICAS
    assert refused.value.code.outcome.value == "not done"

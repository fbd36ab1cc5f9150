"""What the judge reads from batches, on logs that were written by hand."""

import pytest

from logstore.batch import encode_batch
from logstore.leader_epochs import EpochStart
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.record import NewRecord
from tests.crash.derived import epochs_wrong, producers_wrong

TIME = AppendTimeMs(70)


def batch(
    base: int, *, epoch: int = 0, sequence: int, producer: int = 7
) -> tuple[bytes, AppendTimeMs]:
    data = bytearray(
        encode_batch(
            [NewRecord(1, None, b"v")],
            producer_id=producer, producer_epoch=0, base_sequence=sequence,
        )
    )  # fmt: skip
    data[0:8] = base.to_bytes(8, "big")
    data[12:16] = epoch.to_bytes(4, "big")
    return bytes(data), TIME


def remembered(*numbers: int) -> list[tuple[int, int, int, int]]:
    return [(number, 1, number, TIME) for number in numbers]


SEVEN = [batch(number, epoch=number // 3, sequence=number) for number in range(7)]
KNOWN = (7, 7, *remembered(2, 3, 4, 5, 6))


def test_the_last_five_batches_of_a_producer_are_to_be_known() -> None:
    assert producers_wrong(SEVEN, [KNOWN]) is None
    assert producers_wrong(SEVEN, [(7, 7, *remembered(3, 4, 5, 6))])
    assert producers_wrong(SEVEN, [])


@pytest.mark.parametrize(
    "told", [(7, 6, *remembered(2, 3, 4, 5, 6)), (7, 7, *remembered(2, 3, 4, 5)), (8, 1)]
)
def test_anything_else_is_wrong_even_after_a_truncation(told: tuple[object, ...]) -> None:
    assert producers_wrong(SEVEN, [told])


def rows(*table: tuple[int, int]) -> tuple[EpochStart, ...]:
    return tuple(EpochStart(LeaderEpoch(epoch), Offset(start)) for epoch, start in table)


def test_a_table_of_epochs_is_what_the_batches_say() -> None:
    assert epochs_wrong(SEVEN, rows((0, 0), (1, 3), (2, 6)), 0, may_lack=False) is None
    assert epochs_wrong(SEVEN, rows((0, 0), (2, 6)), 0, may_lack=True)
    assert epochs_wrong(SEVEN, rows((1, 4), (2, 6)), 4, may_lack=False) is None
    assert epochs_wrong(SEVEN, rows((0, 0), (1, 3), (2, 6)), 4, may_lack=False) is None
    assert epochs_wrong(SEVEN, rows((0, 4), (2, 6)), 4, may_lack=False)


def test_an_emptied_log_names_its_last_epoch() -> None:
    assert epochs_wrong(SEVEN, rows((2, 6)), 7, may_lack=False) is None
    assert epochs_wrong(SEVEN, rows((1, 6)), 7, may_lack=True)
    assert epochs_wrong(SEVEN, (), 7, may_lack=False)
    assert epochs_wrong(SEVEN, (), 7, may_lack=True) is None
    assert epochs_wrong([], (), 0, may_lack=False) is None

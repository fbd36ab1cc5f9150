"""How much of what was read a credit lets through."""

from typing import Any, cast

import pytest

from api.broker.append_runs import StoredBatch
from api.broker.consume_places import ENVELOPE_BYTES, Spent, within_credit
from api.broker.read_on import Step
from consumer_groups.native.credits import Credits
from model.ids import AppendTimeMs, LeaderEpoch, Offset

NOBODY = cast(Any, None)
C = 30 + ENVELOPE_BYTES
"""What a batch costs, about."""
ZERO = Offset(0)


def batch(base: int, end: int, size_bytes: int = 30) -> StoredBatch:
    return StoredBatch(
        memoryview(bytes(size_bytes)), Offset(base), Offset(end), LeaderEpoch(0), AppendTimeMs(0)
    )


def step(start: int, *batches: StoredBatch, end: int | None = None) -> Step:
    reached = batches[-1].end_offset if end is None else Offset(end)
    return Step(NOBODY, Offset(start), batches, reached, ZERO, ZERO, ZERO, AppendTimeMs(0))


@pytest.mark.parametrize(
    ("records", "size_bytes", "reached", "spent"),
    [
        (1, 9 * C, [2], Spent(2, C)),
        (2, 9 * C, [2], Spent(2, C)),
        (3, 9 * C, [5], Spent(5, 2 * C)),
        (6, 9 * C, [6], Spent(6, 3 * C)),
        (7, 9 * C, [6, 3], Spent(9, 4 * C)),
        (9, 9 * C, [6, 3], Spent(9, 4 * C)),
        (10, 9 * C, [6, 4], Spent(10, 5 * C)),
        (99, 1, [2], Spent(2, C)),
        (99, C, [2], Spent(2, C)),
        (99, C + 1, [5], Spent(5, 2 * C)),
        (99, 9 * C, [6, 4], Spent(10, 5 * C)),
    ],
)
def test_the_batch_that_uses_a_credit_up_is_the_last(
    *, records: int, size_bytes: int, reached: list[int], spent: Spent
) -> None:
    credit = Credits(records=records, size_bytes=size_bytes)
    steps = [
        step(0, batch(0, 2), batch(2, 5), batch(5, 6)),
        step(0, batch(0, 3), batch(3, 4)),
    ]
    cut = within_credit(steps, credit, decoded=False)
    assert [one.next_offset for one in cut.now] == reached
    assert cut.spent == spent
    told = [batch for one in (*cut.now, *cut.later) for batch in one.batches]
    assert told == [batch for one in steps for batch in one.batches]
    if cut.later:
        at = 0 if len(reached) == 1 and reached[0] == 6 else reached[-1]
        assert cut.later[0].start_offset == at
        assert cut.later[-1].next_offset == 4
    assert (credit.records, credit.size_bytes) == (records, size_bytes)


def test_what_lies_below_the_start_costs_nothing() -> None:
    credit = Credits(records=1, size_bytes=99)
    cut = within_credit([step(4, batch(0, 5), batch(5, 9))], credit, decoded=False)
    assert [one.next_offset for one in cut.now] == [5]
    assert cut.spent.records == 1


def test_a_step_without_batches_passes() -> None:
    cut = within_credit([step(4, end=7)], Credits(records=1, size_bytes=1), decoded=True)
    assert [one.next_offset for one in cut.now] == [7]
    assert cut.spent == Spent(0, 0)


@pytest.mark.parametrize(("decoded", "reached"), [(True, [1]), (False, [3])])
def test_nothing_follows_a_batch_of_which_nobody_knows_the_size(
    *, decoded: bool, reached: list[int]
) -> None:
    squeezed = batch(0, 1, 30)._replace(view=memoryview(bytes([*bytes(22), 4, *bytes(7)])))
    credit = Credits(records=9, size_bytes=999)
    cut = within_credit([step(0, squeezed, batch(1, 3))], credit, decoded=decoded)
    assert [one.next_offset for one in cut.now] == reached


@pytest.mark.parametrize(("decoded", "reached"), [(True, [2]), (False, [4])])
def test_a_decoded_record_has_more_around_it_than_a_stored_one(
    *, decoded: bool, reached: list[int]
) -> None:
    credit = Credits(records=9, size_bytes=C + ENVELOPE_BYTES)
    cut = within_credit([step(0, batch(0, 2), batch(2, 4))], credit, decoded=decoded)
    assert [one.next_offset for one in cut.now] == reached

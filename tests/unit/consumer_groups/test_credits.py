"""How much a reader may be sent."""

import pytest

from consumer_groups.native.credits import CREDIT_MAX, Credits


def test_nothing_is_sent_before_there_is_credit_of_both_kinds() -> None:
    credit = Credits()
    assert not credit.may_send()
    credit.grant(records=10, size_bytes=0)
    assert not credit.may_send()
    credit.grant(records=0, size_bytes=1)
    assert credit.may_send()


def test_a_batch_may_overdraw_once_and_the_debt_is_paid_first() -> None:
    credit = Credits(records=10, size_bytes=100)
    credit.spend(records=3, size_bytes=400)
    assert (credit.records, credit.size_bytes) == (7, -300)
    assert not credit.may_send()
    credit.grant(records=0, size_bytes=300)
    assert not credit.may_send()
    credit.grant(records=0, size_bytes=1)
    assert credit.may_send()


def test_records_run_out_as_bytes_do() -> None:
    credit = Credits(records=2, size_bytes=100)
    credit.spend(records=2, size_bytes=1)
    assert not credit.may_send()


def test_a_reader_cannot_grant_more_than_one_grant_can_say() -> None:
    credit = Credits(records=CREDIT_MAX, size_bytes=CREDIT_MAX)
    credit.grant(records=CREDIT_MAX, size_bytes=5)
    assert (credit.records, credit.size_bytes) == (CREDIT_MAX, CREDIT_MAX)


def test_credit_is_given_never_taken_by_a_grant() -> None:
    for records, size_bytes in ((-1, 0), (0, -1)):
        with pytest.raises(AssertionError, match="CREDIT_IS_GIVEN"):
            Credits().grant(records=records, size_bytes=size_bytes)


def test_nothing_is_spent_without_credit() -> None:
    credit = Credits(records=1, size_bytes=1)
    credit.spend(records=1, size_bytes=9)
    with pytest.raises(AssertionError, match="CREDIT_BEFORE_SENDING"):
        credit.spend(records=1, size_bytes=1)

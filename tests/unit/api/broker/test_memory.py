"""The memory budget: congestion, relief, and what is shed."""

import asyncio

import pytest

from api.broker.memory import MemoryBudget
from model.errors import ErrorCode, RequestError


def test_three_quarters_are_congestion_and_relief_is_told_once() -> None:
    budget = MemoryBudget(100)
    relieved: list[str] = []
    budget.take(74)
    assert not budget.congested
    budget.take(1)
    assert budget.congested
    budget.when_relieved(lambda: relieved.append("a"))
    budget.give_back(0)
    assert not relieved
    budget.give_back(1)
    budget.give_back(1)
    assert relieved == ["a"]


def test_relief_is_told_in_order_and_only_while_there_is_room() -> None:
    """What those who waited bring at once must not be more than there is room for."""
    budget = MemoryBudget(100)
    told: list[int] = []

    def waiting(number: int, brings: int) -> None:
        def call() -> None:
            told.append(number)
            budget.take(brings)

        budget.when_relieved(call)

    budget.take(90)
    for number, brings in enumerate((10, 40, 20)):
        waiting(number, brings)
    budget.give_back(50)
    assert told == [0, 1]
    budget.give_back(20)
    assert told == [0, 1, 2]


def test_who_still_finds_too_little_is_not_told_over_and_over() -> None:
    budget = MemoryBudget(100)
    told: list[str] = []

    def wants_more() -> None:
        told.append("again")
        budget.when_relieved(wants_more)

    budget.take(80)
    budget.when_relieved(wants_more)
    budget.give_back(10)
    assert told == ["again"]
    budget.give_back(10)
    assert told == ["again", "again"]


def test_what_does_not_fit_is_shed_and_one_request_always_fits() -> None:
    budget = MemoryBudget(100)
    budget.check(1_000)
    budget.take(60)
    budget.check(40)
    with pytest.raises(RequestError) as refused:
        budget.check(41)
    assert refused.value.code is ErrorCode.OVERLOADED
    assert refused.value.code.retryable


def test_giving_back_what_was_not_taken_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="MEMORY_NEVER_NEGATIVE"):
        MemoryBudget(1).give_back(1)


def test_whoever_has_gone_is_not_called_and_not_kept() -> None:
    budget = MemoryBudget(100)
    told: list[str] = []
    budget.take(100)
    budget.when_relieved(lambda: told.append("stays"))
    gone = told.clear
    budget.when_relieved(gone)
    budget.forget(gone)
    budget.forget(gone)
    budget.give_back(100)
    assert told == ["stays"]


async def test_relief_is_awaited_and_a_cancelled_wait_leaves_nothing() -> None:
    budget = MemoryBudget(100)
    budget.take(100)
    waiting = [asyncio.ensure_future(budget.relief()) for _ in range(2)]
    await asyncio.wait(waiting, timeout=0)
    waiting[0].cancel()
    await asyncio.wait(waiting, timeout=0)
    assert len(budget._relieved) == 1
    budget.give_back(26)
    await waiting[1]


def test_what_is_held_is_given_back_whatever_happens() -> None:
    budget = MemoryBudget(100)
    with pytest.raises(ZeroDivisionError), budget.held(80):
        assert budget.taken_bytes == 80
        with pytest.raises(RequestError), budget.held(21):
            raise AssertionError("it does not fit")
        raise ZeroDivisionError
    assert budget.taken_bytes == 0

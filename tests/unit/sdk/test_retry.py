"""How long the SDK tries, and what it says when it gives up."""

from datetime import timedelta
from random import Random

import pytest

from tests.sdk_clock import FastClock
from tidelog.errors import TidelogError, error_of
from tidelog.retry import Budget, Retry, gave_up


def test_waits_double_up_to_the_longest() -> None:
    retry = Retry(jitter=0)
    waits = [retry.wait_s(tries, Random(0)) for tries in range(1, 9)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert retry.wait_s(10_000, Random(0)) == 5.0


def test_jitter_only_shortens() -> None:
    retry, chance = Retry(jitter=0.5), Random(7)
    waits = [retry.wait_s(7, chance) for _ in range(1000)]
    assert 2.5 <= min(waits) < 2.6
    assert 4.9 < max(waits) <= 5.0


async def test_a_budget_ends_with_how_long_and_how_often() -> None:
    clock = FastClock()
    budget = Budget(Retry(total=timedelta(seconds=20), jitter=0), clock, Random(0))
    failure = error_of("NO_QUORUM", "two of three controllers are down")
    with pytest.raises(TidelogError) as gone:
        while True:
            await clock.sleep(budget.failed(failure))
    assert gone.value.reason == "NO_QUORUM"
    assert str(gone.value) == (
        "two of three controllers are down; gave up after 16 s and 9 tries (NO_QUORUM)"
    )
    assert clock.passed_s <= 20


def test_a_node_that_names_a_wait_is_given_it() -> None:
    budget = Budget(Retry(jitter=0), FastClock(), Random(0))
    assert budget.failed(error_of("OVERLOADED", "busy"), 3.0) == 3.0


def test_no_budget_is_one_try() -> None:
    budget = Budget(Retry(total=timedelta(0)), FastClock(), Random(0))
    with pytest.raises(TidelogError, match="1 try"):
        budget.failed(error_of("OVERLOADED", "busy"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"total": timedelta(seconds=-1)},
        {"initial": timedelta(0)},
        {"initial": timedelta(seconds=9)},
        {"jitter": 1.5},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, timedelta]) -> None:
    with pytest.raises(ValueError, match="Retry"):
        Retry(**wrong)  # type: ignore[arg-type]


def test_words() -> None:
    assert gave_up(0.25, 1) == "gave up after 0.2 s and 1 try"
    assert gave_up(120.4, 31) == "gave up after 120 s and 31 tries"

"""A subscription's place only rises."""

from typing import Any, cast

import pytest

from api.broker.read_on import Gap, Step
from api.broker.subscribe import Bounds, Subscribe
from model.ids import AppendTimeMs, LeaderEpoch, Offset

NOBODY = cast(Any, None)


def step(next_offset: int) -> Step:
    zero = Offset(0)
    return Step(NOBODY, zero, (), Offset(next_offset), zero, zero, zero, AppendTimeMs(0))


def test_it_never_goes_back() -> None:
    place = Bounds(NOBODY, Offset(5), last_epoch=LeaderEpoch(2))
    Subscribe._move(NOBODY, NOBODY, place, step(7))
    assert (place.start, place.last_epoch) == (7, 2)
    with pytest.raises(AssertionError, match="SUBSCRIPTION_MOVES_FORWARD"):
        Subscribe._move(NOBODY, NOBODY, place, step(6))


def test_behind_a_gap_the_epoch_is_unknown() -> None:
    place = Bounds(NOBODY, Offset(5), last_epoch=LeaderEpoch(2))
    Subscribe._move(NOBODY, NOBODY, place, Gap(NOBODY, Offset(5), Offset(9)))
    assert (place.start, place.last_epoch) == (9, None)

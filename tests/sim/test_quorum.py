"""A few seeds of the quorum as it ships; `python -m tests.sim.quorum` runs more."""

import pytest

from tests.sim.quorum import run


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_lost_what_was_answered_stays(seed: int) -> None:
    counts = run(seed)
    assert counts["created"] > 3

"""What the bench of three nodes makes of what it has seen: gaps, victims, what was kept."""

import pytest

from bench.cluster.strikes import Ack, Kept, Strike, kept, longest_gap_s, rows, victim_of


def _acks(partition: int, times: list[float]) -> list[Ack]:
    return [Ack(at, partition, number, at) for number, at in enumerate(times)]


@pytest.mark.parametrize(("slow", "other"), [(0, 1), (1, 0)])
def test_a_gap_is_that_of_the_partition_that_stood_still_longest(slow: int, other: int) -> None:
    acks = _acks(other, [1.0, 2.0, 3.0, 4.0]) + _acks(slow, [1.0, 2.5, 6.5])
    assert longest_gap_s(acks, since_s=2.6) == 4.0


def test_a_gap_that_ended_before_the_strike_is_not_counted() -> None:
    assert longest_gap_s(_acks(0, [0.0, 9.0, 10.0, 10.5]), since_s=9.5) == 1.0


def test_what_was_acknowledged_and_is_not_there_is_lost() -> None:
    acks = _acks(0, [1.0, 2.0]) + _acks(1, [1.0])
    assert kept(acks, [(0, 0), (1, 0)]) == Kept(lost=1, doubled=0)


def test_what_is_there_twice_is_doubled_acknowledged_or_not() -> None:
    assert kept(_acks(0, [1.0]), [(0, 0), (0, 1), (0, 1)]) == Kept(lost=0, doubled=1)


@pytest.mark.parametrize(("number", "leads_quorum"), [(0, True), (1, False), (2, True), (3, False)])
def test_every_other_victim_leads_the_quorum(number: int, *, leads_quorum: bool) -> None:
    assert (victim_of({1, 2, 3}, 2, number) == 2) is leads_quorum


def test_a_victim_leads_a_partition() -> None:
    assert victim_of({1, 3}, 2, 0) in {1, 3}
    assert victim_of({2}, 2, 1) == 2


def _struck(gap_s: float, *, lost: int = 0) -> Strike:
    return Strike(gap_s, Kept(lost, 0), failed=0, led_quorum=False)


@pytest.mark.parametrize(("gap_s", "met"), [(2.9, True), (3.5, False)])
def test_the_longest_gap_is_judged_by_itself_and_beside_the_peers_longest(
    gap_s: float, *, met: bool
) -> None:
    ours, theirs = [_struck(0.5), _struck(gap_s)], [_struck(9.0), _struck(11.0)]
    alone, beside, *_ = rows("kill", ours, theirs)
    assert (alone.ours, alone.met) == (gap_s, met)
    assert (beside.ours, beside.peer, beside.met) == (gap_s, 11.0, met)


def test_a_lost_record_of_ours_fails_the_run_and_one_of_the_peers_does_not() -> None:
    *_, ours, theirs = rows("kill", [_struck(0.5, lost=1)], [_struck(9.0, lost=1)])
    assert (ours.gated, ours.met) == (True, False)
    assert (theirs.gated, theirs.met) == (False, None)

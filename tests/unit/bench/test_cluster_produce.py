"""Rows of three nodes beside three of Kafka: what is compared with what, and what is not."""

import pytest

from bench.cluster.produce import END_TO_END, JUDGED, KAFKA, KAFKA_SYNCED, SHIPPED, Judged, row
from bench.requests import kafka_request


def _figures(ours_us: float, kafka_us: float) -> dict[str, list[float]]:
    return {
        f"{END_TO_END}/{figure}/{name}": [us] * 3
        for figure in ("p50", "p99")
        for name, us in ((SHIPPED.name, ours_us), (KAFKA.name, kafka_us))
    }


@pytest.mark.parametrize("figure", ["p50", "p99"])
def test_waits_are_compared_where_both_carry_the_rate(figure: str) -> None:
    found = row(Judged(END_TO_END, figure, SHIPPED, KAFKA, at_most=2.0), _figures(3_000, 2_000))
    assert (found.ratio, found.met, found.skipped) == (1.5, True, "")


@pytest.mark.parametrize("figure", ["p50", "p99"])
@pytest.mark.parametrize(("ours_us", "kafka_us"), [(3_000, 804_000), (804_000, 3_000)])
def test_the_length_of_a_queue_is_no_wait_and_is_told(
    figure: str, ours_us: float, kafka_us: float
) -> None:
    judged = Judged(END_TO_END, figure, SHIPPED, KAFKA, at_most=2.0)
    found = row(judged, _figures(ours_us, kafka_us))
    assert (found.ratio, found.met) == (None, None)
    assert "does not carry the rate here: p50 804 ms" in found.skipped


def test_a_sync_of_each_record_is_judged_where_each_record_comes_by_itself() -> None:
    judged = [one.load for one in JUDGED if one.peer is KAFKA_SYNCED and one.at_least is not None]
    assert judged == ["64 connections, 100 B", "64 connections, 1024 B"]
    assert KAFKA_SYNCED.settings == {"flush.messages": "1"}
    grown = len(kafka_request(b"t", value=b"v" * 1_024)) - len(kafka_request(b"t"))
    assert 924 <= grown < 940  # one record of it, and not more records

"""Answers keep the order of requests within each partition, and wait for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.rpc.answer_order import AnswerOrder


def test_a_later_request_of_the_same_partition_waits() -> None:
    order = AnswerOrder[str]()
    order.add("first", {0})
    order.add("second", {0})
    assert order.finished("second") == []
    assert order.finished("first") == ["first", "second"]
    assert len(order) == 0


def test_another_partition_does_not_wait() -> None:
    order = AnswerOrder[str]()
    order.add("stuck", {0})
    order.add("free", {1})
    order.add("behind both", {0, 1})
    order.add("behind free", {1})
    assert order.finished("free") == ["free"]
    assert order.finished("behind free") == []
    assert order.finished("behind both") == []
    assert order.finished("stuck") == ["stuck", "behind both", "behind free"]


def test_what_touches_nothing_leaves_at_once() -> None:
    order = AnswerOrder[str]()
    order.add("stuck", {0})
    order.add("refused", ())
    assert order.finished("refused") == ["refused"]


def test_a_request_is_finished_once() -> None:
    order = AnswerOrder[str]()
    order.add("one", {0})
    order.finished("one")
    with pytest.raises(AssertionError, match="ANSWER_ONCE"):
        order.finished("one")
    order.add("two", {0})
    with pytest.raises(AssertionError, match="ANSWER_ONCE"):
        order.add("two", {1})


@given(st.lists(st.sets(st.integers(0, 3), max_size=3), max_size=12), st.randoms())
def test_every_request_leaves_once_and_in_order(places: list[set[int]], rand: object) -> None:
    order = AnswerOrder[int]()
    for request, touched in enumerate(places):
        order.add(request, touched)
    finishing = list(range(len(places)))
    rand.shuffle(finishing)  # type: ignore[attr-defined]
    left: list[int] = []
    for request in finishing:
        left += order.finished(request)
    assert sorted(left) == list(range(len(places)))
    for place in range(4):
        touching = [request for request in left if place in places[request]]
        assert touching == sorted(touching)

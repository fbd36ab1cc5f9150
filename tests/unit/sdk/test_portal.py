"""The thread behind `tidelog.sync`: it ends, stays ended, and does not wait for itself."""

import threading
from collections.abc import AsyncIterator

import pytest

import tidelog.sync
from tidelog.portal import Portal


async def _one() -> int:
    return 1


async def _numbers() -> AsyncIterator[int]:
    for number in range(3):
        yield number


def test_it_runs_coroutines_and_iterates() -> None:
    portal = Portal()
    try:
        assert portal.run(_one()) == 1
        assert list(portal.iterate(_numbers())) == [0, 1, 2]
        assert portal.do(threading.current_thread) is not threading.current_thread()
    finally:
        portal.close()


def test_a_closed_one_begins_no_thread_again() -> None:
    before = set(threading.enumerate())
    portal = Portal()
    portal.run(_one())
    assert set(threading.enumerate()) > before
    portal.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        portal.run(_one())
    assert set(threading.enumerate()) == before


def test_a_closed_client_says_so() -> None:
    with tidelog.sync.connect("127.0.0.1:1") as client:
        pass
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.topics.get("orders")


def test_a_callback_that_calls_back_is_refused_and_does_not_hang() -> None:
    portal = Portal()
    try:
        with pytest.raises(RuntimeError, match="would wait for itself"):
            portal.do(lambda: portal.run(_one()))
    finally:
        portal.close()

"""A producer of the SDK whose node reaches no leader: it goes on through another one."""

from collections import deque
from datetime import timedelta
from random import Random

import pytest

from model.errors import ErrorCode, RequestError
from tests.log_peer import LogPeer, serving
from tests.sdk_clock import FastClock, client_of
from tidelog.retry import Retry

QUICK = Retry(initial=timedelta(milliseconds=1), maximum=timedelta(milliseconds=5))


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_node_that_reaches_no_leader_is_left_for_another_one(idempotent: bool) -> None:
    """The one is cut off, and tells so of every batch; the client reaches both."""
    clock, cut_off, whole = FastClock(), LogPeer(), LogPeer()
    for one in (cut_off, whole):
        one.create("orders", 2)

    class Refusals(deque[RequestError]):
        def popleft(self) -> RequestError:
            clock.passed_s += 1.0
            return super().popleft()

    gone = RequestError(ErrorCode.NODE_UNREACHABLE, "node 2 was not reached: no link is up")
    cut_off.faults.refuse_batches = Refusals([gone] * 100)
    async with serving(cut_off) as first, serving(whole) as second:
        hosts = (second, first) if Random(0).randrange(2) else (first, second)
        async with client_of(*hosts, clock=clock, retry=QUICK) as client:
            async with client.producer(idempotent=idempotent) as p:
                acks = [await p.enqueue("orders", b"%d" % n, partition=n % 2) for n in range(4)]
                places = [await ack for ack in acks]
    assert cut_off.batches_seen > 0
    assert cut_off.records("orders") == []
    assert [ack.duplicate for ack in places] == [False] * 4
    assert sorted(r.value or b"" for r in whole.records("orders")) == [b"0", b"1", b"2", b"3"]

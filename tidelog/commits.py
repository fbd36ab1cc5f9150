"""Commits that were sent and not answered yet: they outlive the stream on which they went out.

A commit says where a partition stands, so the same one may be sent again; it goes out unchanged on
the next stream of the same membership, and fails when that is lost.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tidelog.errors import TidelogError
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import group_service_pb2 as wire

Rows = Sequence[common.PartitionResult]


class _Pending(NamedTuple):
    request: wire.ConsumeRequest
    answer: "asyncio.Future[Rows]"


class Commits:
    """Those of one consumer."""

    def __init__(self) -> None:
        """Begin with none."""
        self._pending: dict[int, _Pending] = {}
        self._last = 0

    def begin(
        self, cursors: Sequence[common.Cursor]
    ) -> "tuple[int, wire.ConsumeRequest, asyncio.Future[Rows]]":
        """Return a commit's number, what to send, and what will be its answer's rows."""
        self._last += 1
        commit = wire.ConsumeRequest.Commit(correlation_id=self._last, cursors=cursors)
        request = wire.ConsumeRequest(commit=commit)
        answer: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._pending[self._last] = _Pending(request, answer)
        return self._last, request, answer

    def settle(self, committed: wire.ConsumeResponse.Committed) -> None:
        """Take an answer; one that came twice, or that nobody waits for, is passed over."""
        pending = self._pending.pop(committed.correlation_id, None)
        if pending is not None and not pending.answer.done():
            pending.answer.set_result(committed.results)

    def forget(self, number: int) -> None:
        """Wait no longer."""
        self._pending.pop(number, None)

    def again(self) -> Iterator[wire.ConsumeRequest]:
        """Yield what a new stream has to say, in the order of old."""
        for pending in self._pending.values():
            yield pending.request

    async def answered(self) -> bool:
        """Wait until every commit that was sent has its answer; tell whether there was one.

        What is committed meanwhile is not waited for: a program may commit all the time.
        """
        pending = [each.answer for each in self._pending.values()]
        if pending:
            await asyncio.wait(pending)
        return bool(pending)

    def fail(self, error: TidelogError) -> None:
        """Give up all of them."""
        pending, self._pending = self._pending, {}
        for each in pending.values():
            if not each.answer.done():
                each.answer.set_exception(error)

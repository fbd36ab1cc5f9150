"""Commits that have no answer yet."""

import asyncio

from tidelog.commits import Commits
from tidelog.v1 import group_service_pb2 as wire


async def test_who_waits_for_answers_waits_for_what_was_asked_until_then() -> None:
    commits = Commits()
    assert not await commits.answered()
    number, _, _ = commits.begin([])
    waiting = asyncio.ensure_future(commits.answered())
    await asyncio.sleep(0)
    commits.begin([])
    assert not waiting.done()
    commits.settle(wire.ConsumeResponse.Committed(correlation_id=number))
    async with asyncio.timeout(10):  # not for the second one
        assert await waiting

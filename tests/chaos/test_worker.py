"""What a process of members is told of one of them happens in that order, however fast it comes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.journal import Assigned, Ended, Event, Journal, Resumed, Wrong, read_all
from tests.chaos.plan import TOPIC
from tests.chaos.worker import Worker
from tests.group_stream import GroupStream
from tidelog import testing

WHO = "m1-1~4000"
SESSION_MS = 4_000
CLOSES_S = 0.2
LOOK_S = 0.02
LOOKS = 500


class Told:
    """A worker, and what it has written down."""

    def __init__(self, target: str, folder: Path) -> None:
        self.worker = Worker(target, Journal(folder / "worker.jsonl"))
        self._folder = folder

    def events(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in read_all(self._folder) if isinstance(event, kinds)]

    async def until(self, *kinds: type[Event]) -> None:
        for _ in range(LOOKS):
            if self.events(*kinds):
                return
            await asyncio.sleep(LOOK_S)
        pytest.fail(f"nothing of {kinds} in {self.events(Event)}")


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    async with testing.broker(ports=True) as running:
        await running.client.topics.create(TOPIC, partitions=1)
        told = Told(running.url.removeprefix("tidelog://"), tmp_path)
        yield told
        await told.worker.do(["cut", WHO])


async def test_who_is_told_to_resume_while_its_stream_still_breaks_resumes(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection may take its time to close, as on a machine that has others to see to."""
    await told.worker.do(["join", WHO, SESSION_MS])
    await told.until(Assigned)
    close = GroupStream.close

    async def slowly(stream: GroupStream) -> None:
        await asyncio.sleep(CLOSES_S)
        await close(stream)

    monkeypatch.setattr(GroupStream, "close", slowly)
    await asyncio.gather(*(told.worker.do([what, WHO]) for what in ("break", "resume")))
    await told.until(Resumed, Ended)
    assert told.events(Resumed)
    assert not told.events(Ended, Wrong)


async def test_what_is_told_of_nobody_is_written_down(told: Told) -> None:
    await told.worker.do(["break", "m2-1~4000"])
    (wrong,) = told.events(Wrong)
    assert isinstance(wrong, Wrong)
    assert wrong.text == "told to break, and is none"

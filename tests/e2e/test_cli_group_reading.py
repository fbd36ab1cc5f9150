"""`tidelog consume -g` when records never stop coming, and when its place is taken."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable

import pytest

from tests.consumer_world import World, peers
from tidelog.cli.group_reading import _Reader
from tidelog.cli.progress import Progress
from tidelog.cli.reading import Reading
from tidelog.cli.record import ShownRecord
from tidelog.cli.run import Run
from tidelog.cli.time_range import EDGES, ReadRange


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with peers() as world:
        yield world


class Terminal:
    """A run of the command, and what it wrote."""

    def __init__(self) -> None:
        self.out, self.err = io.BytesIO(), io.StringIO()
        stdout = io.TextIOWrapper(self.out, encoding="utf-8", write_through=True)
        self.run = Run(environment={}, stdout=stdout, stderr=self.err)
        self.seconds = 0.0

    def now(self) -> float:
        self.seconds += 0.1
        return self.seconds

    async def consume(
        self, world: World, count: int, printed: Callable[[ShownRecord], bytes]
    ) -> int:
        reading = Reading(
            topics=["orders"],
            read=ReadRange(EDGES["start"]),
            clock="event",
            follow=True,
            records_max=count,
            printer=printed,
        )
        reader = _Reader(self.run, reading, Progress(self.run, "records"), now=self.now)
        async with asyncio.timeout(20), world.client() as client:
            return await reader.run(client, "g")


async def test_what_is_printed_is_committed_though_more_is_always_here(world: World) -> None:
    world.store(*map(str, range(200)))
    seen: list[int] = []

    def printed(record: ShownRecord) -> bytes:
        seen.append(world.groups.committed("g", "orders") or 0)
        return b"%d\n" % record.offset

    assert await Terminal().consume(world, 200, printed) == 0
    assert len(set(seen)) > 5  # of the clock a second has passed again and again
    assert world.groups.committed("g", "orders") == 200


class Noticed(asyncio.Event):
    """Tells that somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def wait(self) -> bool:  # type: ignore[override]  # the library says Literal[True]
        self.asked.set()
        return await super().wait()


async def test_a_group_that_is_moved_goes_on_from_there(world: World) -> None:
    """The commit of what was printed is under way: it is refused, and that ends nothing."""
    world.store("1", "2", "3")
    hold = world.groups.faults.hold_commits = Noticed()

    async def move() -> None:
        await hold.asked.wait()
        world.groups.seek("g", "orders", 0)
        world.groups.faults.hold_commits = None
        hold.set()

    moving = asyncio.ensure_future(move())
    terminal = Terminal()
    assert await terminal.consume(world, 6, lambda record: b"%d " % record.offset) == 0
    await moving
    assert terminal.out.getvalue() == b"0 1 2 0 1 2 "
    assert "what was printed since the last commit may come again" in terminal.err.getvalue()
    assert world.groups.committed("g", "orders") == 3


class HungUp(io.BytesIO):
    """A pipe that nobody reads any more."""

    def write(self, _data: object) -> int:
        raise BrokenPipeError


async def test_what_could_not_be_written_is_not_committed(world: World) -> None:
    world.store("1", "2", "3")
    terminal = Terminal()
    stdout = io.TextIOWrapper(HungUp(), encoding="utf-8", write_through=True)
    terminal.run = Run(environment={}, stdout=stdout, stderr=terminal.err)
    with pytest.raises(BrokenPipeError):
        await terminal.consume(world, 3, lambda record: b"%d\n" % record.offset)
    assert not world.groups.committed("g", "orders")

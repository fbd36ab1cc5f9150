"""Reading ahead from stdin: bounded, in order, and over when nobody wants more."""

import asyncio
from collections.abc import Iterator

import pytest

from tidelog.cli import feed
from tidelog.cli.feed import Feed


async def test_everything_comes_in_order_and_then_what_ended_it() -> None:
    def source() -> Iterator[int]:
        yield from range(1_000)
        raise ValueError("malformed")

    got: list[int] = []
    with pytest.raises(ValueError, match="malformed"):
        async for item in Feed(source(), size_of=lambda _: 1):
            got.append(item)
    assert got == list(range(1_000))


@pytest.mark.parametrize(("size_bytes", "at_most"), [(0, 10), (100, 3)])
async def test_it_reads_no_further_ahead_than_it_may(
    size_bytes: int, at_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten items, or 250 bytes and the item that goes over them; one more waits in the hand."""
    monkeypatch.setattr(feed, "AHEAD_MAX", 10)
    monkeypatch.setattr(feed, "AHEAD_BYTES_MAX", 250)
    read = 0
    taken = 0
    furthest = 0

    def source() -> Iterator[int]:
        nonlocal read, furthest
        for number in range(500):
            read = number + 1
            furthest = max(furthest, read - taken)
            yield number

    async for _ in Feed(source(), size_of=lambda _: size_bytes):
        await asyncio.sleep(0)
        taken += 1
    assert read == 500
    assert furthest <= 2 * at_most + 2, "those being handed out, those ahead, one in the hand"

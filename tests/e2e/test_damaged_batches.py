"""A batch that no node can serve: told once, with its offsets, and everything else is read."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import tidelog
from model.record import iter_batches
from tests.cli_runner import Cli
from tests.grpc_node import GrpcNode, grpc_node, plain

T0_MS = 1_767_225_600_000
RECORDS = 60
PER_BLOCK = 8
"""No more records of `VALUE` fit into a block of the index, 4 KiB, and the one that crosses it."""
VALUE = b"v" * 500
BAD = 30
PATIENCE_S = 30


@pytest.fixture
async def damaged(tmp_path: Path) -> AsyncIterator[GrpcNode]:
    """A node with one partition whose batch at `BAD` fails its checksum; nothing is in memory."""
    await write_and_damage(tmp_path)
    async with grpc_node(tmp_path / "after") as node:
        yield node


async def write_and_damage(path: Path) -> None:
    async with grpc_node(path / "before") as node:
        await node.create("orders")
        for number in range(RECORDS):
            await node.produce("orders", plain(VALUE, time=T0_MS + number))
    shutil.copytree(path / "before", path / "after")  # the first is this process's
    flip(path / "after", BAD)


def flip(directory: Path, number: int) -> None:
    """Change one byte of a batch's records."""
    for path in directory.glob("partitions/*-0/*.log"):
        content = bytearray(path.read_bytes())
        batches = list(iter_batches(memoryview(bytes(content))))
        if len(batches) == RECORDS:
            content[sum(map(len, batches[:number])) + 200] ^= 1
            path.write_bytes(content)
            return
    raise AssertionError("no such segment")


async def read(node: GrpcNode, **place: object) -> tuple[list[int], list[tidelog.DataCorrupt]]:
    """Return the offsets that a program gets which reads on, and what it was told."""
    offsets: list[int] = []
    told: list[tidelog.DataCorrupt] = []
    async with (
        asyncio.timeout(PATIENCE_S),
        tidelog.connect(node.target) as client,
        client.replay("orders", **place) as history,  # type: ignore[arg-type]  # of a test
    ):
        while True:
            try:
                offsets.append((await anext(history)).offset)
            except StopAsyncIteration:
                return offsets, told
            except tidelog.DataCorrupt as corrupt:
                assert len(told) < RECORDS, "told again and again"
                told.append(corrupt)


def around(corrupt: tidelog.DataCorrupt, *, start: int = 0, stop: int = RECORDS) -> list[int]:
    """Return the offsets that a refusal leaves; it has to name few."""
    assert corrupt.offset == BAD
    assert corrupt.next_offset is not None
    assert BAD < corrupt.next_offset <= BAD + PER_BLOCK
    assert f"orders/0: offsets {BAD} to {corrupt.next_offset - 1}: " in str(corrupt)
    return [n for n in range(start, stop) if not BAD <= n < corrupt.next_offset]


async def test_a_reader_goes_on_behind_it(damaged: GrpcNode) -> None:
    offsets, (corrupt,) = await read(damaged, start="earliest", stop="latest")
    assert offsets == around(corrupt)
    behind = offsets[BAD]
    assert (await read(damaged, start=behind, stop="latest"))[0] == offsets[BAD:]


async def test_a_read_that_ends_inside_of_it_ends(damaged: GrpcNode) -> None:
    offsets, (corrupt,) = await read(damaged, start="earliest", stop=BAD + 1)
    assert offsets == around(corrupt, stop=BAD)


async def test_so_does_one_over_a_range_of_event_times(damaged: GrpcNode) -> None:
    """What lies outside of the range is not read: to find it is what meets the damage first."""
    first = BAD - 15
    start, end = (datetime.fromtimestamp((T0_MS + n) / 1000, UTC) for n in (first, RECORDS))
    offsets, (corrupt,) = await read(damaged, during=tidelog.TimeRange(start, end))
    assert offsets == around(corrupt, start=first)


async def test_the_command_line_tells_it_once_and_ends(damaged: GrpcNode) -> None:
    cli = Cli(damaged.target)
    async with asyncio.timeout(PATIENCE_S):
        ran = await cli("consume", "orders", "-o", "0", "--no-follow", "-f", "%o\\n")
    assert ran.code == 1
    assert ran.stderr.count("cannot be served") == 1
    offsets = [int(line) for line in ran.lines]
    assert offsets[:BAD] == list(range(BAD))
    assert offsets[BAD:] == list(range(offsets[BAD], RECORDS))


async def test_a_group_is_told_once_and_does_not_come_back_to_it(damaged: GrpcNode) -> None:
    cli = Cli(damaged.target)
    options = ("consume", "orders", "-g", "g", "--no-follow", "-o", "0", "-f", "%o\\n")
    async with asyncio.timeout(PATIENCE_S):
        ran = await cli(*options)
    assert ran.code == 1
    assert ran.stderr.count("cannot be served") == 1
    offsets = [int(line) for line in ran.lines]
    assert offsets == [*range(BAD), *range(offsets[BAD], RECORDS)]
    async with asyncio.timeout(PATIENCE_S):
        again = await cli(*options)
    assert (again.code, again.lines) == (0, [])


async def test_it_is_the_same_without_an_index(tmp_path: Path) -> None:
    """It is made again from the headers of batches, and those are whole."""
    await write_and_damage(tmp_path)
    for index in (tmp_path / "after").glob("partitions/*-0/*.index"):
        index.unlink()
    async with grpc_node(tmp_path / "after") as node:
        offsets, (corrupt,) = await read(node, start="earliest", stop="latest")
        assert offsets == around(corrupt)

"""The programs of examples/ run against a node and do what they say."""

import asyncio
import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import tidelog
from tests.grpc_node import GrpcNode

EXAMPLES = Path(__file__).parents[2] / "examples"
TESTED = {
    "history_then_live", "produce_and_replay", "projection_that_survives_a_crash",
    "share_the_work", "without_await",
}  # fmt: skip


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_and_a_screenful() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == TESTED
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 80, path


async def test_produce_and_replay(served: GrpcNode) -> None:
    assert await load("produce_and_replay").main(f"tidelog://{served.target}") == 60 * 1.5


async def test_the_projection_goes_on_after_a_crash(served: GrpcNode, tmp_path: Path) -> None:
    example, url = load("projection_that_survives_a_crash"), f"tidelog://{served.target}"
    file = tmp_path / "totals.json"
    async with tidelog.connect(url) as client:
        await client.topics.create("payments", partitions=3)
        async with client.producer(key=tidelog.UTF8, value=tidelog.json(float)) as p:
            await p.send_many("payments", [float(n) for n in range(250)], key=lambda v: f"c{v % 7}")
            expected = {f"c{c}.0": float(sum(range(c, 250, 7))) for c in range(7)}
            assert await example.main(url, file) == expected
            await p.send("payments", 1000.0, key="c1.0")
        expected["c1.0"] += 1000.0
        assert await example.main(url, file) == expected
        assert await example.main(url, file) == expected


async def test_history_then_live(served: GrpcNode) -> None:
    url = f"tidelog://{served.target}"
    async with tidelog.connect(url) as client:
        await client.topics.create("orders")
        async with client.producer() as p:
            await p.send("orders", b"before", timestamp=datetime(2020, 1, 1, tzinfo=UTC))
            reading = asyncio.ensure_future(
                load("history_then_live").main(url, "orders", stop_after=2)
            )
            await asyncio.sleep(0)
            while not reading.done():
                await p.send("orders", b"after")
        lines = await reading
    assert lines[0] == "history 0@0 b'before'"
    assert "b'after'" in lines[1]


async def test_without_await(served: GrpcNode) -> None:
    example = load("without_await")
    assert await asyncio.to_thread(example.main, f"tidelog://{served.target}") == [
        "good morning", "good day", "good night",
    ]  # fmt: skip


async def test_share_the_work(served: GrpcNode) -> None:
    url, example = f"tidelog://{served.target}", load("share_the_work")
    async with tidelog.connect(url) as client:
        await client.topics.create("jobs", partitions=4)
        async with client.producer(value=tidelog.UTF8) as p:
            for number in range(8):
                await p.send("jobs", f"{number}", partition=number % 4)
    first = await example.main(url, "mail", 5)
    assert len(await example.main(url, "mail", 3)) == 3
    both = await asyncio.gather(example.main(url, "other", 4), example.main(url, "fresh", 8))
    assert len(first) == 5
    assert [len(done) for done in both] == [4, 8]

"""A rolling restart under load: `python -m tests.cluster.rolling [--rounds 1] [--keep]`.

Three processes are stopped in order (SIGTERM) and started again, one after the other, each as soon
as the one before says that it is ready. Meanwhile a producer and a consumer group of the SDK, with
their default retry, and an idempotent producer of librdkafka go on: nobody may be told of an error,
nothing may be lost or there twice. Told are the longest times without an acknowledgement.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

import tidelog
from tests.cluster.loads import Load
from tests.cluster.processes import Processes
from tests.cluster.sdk_loads import SdkLoad
from tests.cluster.topics import TOPIC as KAFKA_TOPIC
from tests.cluster.topics import create
from tests.cluster.waiting import PATIENCE_S, Broken

TOPIC: Final = "sales"
GROUP: Final = "books"
PARTITIONS: Final = 6
RECORDS: Final = 300
"""Acknowledged by each producer between two blows."""


class Bookkeeper:
    """A group of one member of the SDK, and what it has read."""

    def __init__(self, url: str) -> None:
        """Begin with nothing."""
        self.read: list[tuple[int, int]] = []
        """Partition and offset of each record; what it commits, it has noted."""
        self._url = url

    async def read_up(self, wanted: Iterable[tuple[int, int]]) -> int:
        """Wait until it has read certain records; return how many it still has not."""
        missing, end = set(wanted).difference(self.read), monotonic() + PATIENCE_S
        while missing and monotonic() < end:
            await asyncio.sleep(0.1)
            missing.difference_update(self.read)
        return len(missing)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read, from the beginning of this context to its end."""
        reading = asyncio.create_task(self._run())
        try:
            yield
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def _run(self) -> None:
        async with (
            tidelog.connect(self._url) as client,
            client.consumer(TOPIC, group=GROUP, start="earliest") as records,
        ):
            async for record in records:
                self.read.append((record.partition, record.offset))


class Rolling:
    """See the module."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Begin in a folder that is empty."""
        self.nodes = Processes(folder)
        self._sdk = SdkLoad(self.nodes.url(), TOPIC)
        self._kafka = Load(self.nodes.kafka(), partitions=PARTITIONS)
        self._book = Bookkeeper(self.nodes.url())
        self.problems: list[str] = []
        self.pauses: list[float] = []
        """Of the SDK's producer and of librdkafka's, one after the other."""
        self._say = say

    async def tell(self, rounds: int) -> list[str]:
        """Restart all nodes so often; return what went wrong."""
        try:
            await asyncio.to_thread(self.nodes.start)
            for topic in (TOPIC, KAFKA_TOPIC):
                await asyncio.to_thread(create, self.nodes.kafka(), topic, partitions=PARTITIONS)
            async with self._book.running(), self._sdk.running(), self._writing():
                await self._all_go_on("at first")
                self.pauses.clear()
                for _ in range(rounds):
                    for number in self.nodes.nodes:
                        await self._restart(number)
                await self._sdk.finish()
                if missing := await self._book.read_up(self._sdk.acknowledged):
                    self.problems.append(f"the group did not read {missing} records")
            self._judge()
        except (Broken, tidelog.TidelogError) as broken:
            self.problems.append(f"{type(broken).__name__}: {broken}")
        finally:
            self.nodes.close()
        return self.problems

    async def _restart(self, number: int) -> None:
        node, began = self.nodes.nodes[number], monotonic()
        code = await asyncio.to_thread(node.terminate)
        stopped = monotonic() - began
        if code != 0:
            self.problems.append(f"node {number} stopped with exit code {code}")
        await asyncio.to_thread(lambda: self.nodes.open([number]))
        pauses = await self._all_go_on(f"after node {number}")
        told = ", ".join(f"{one:.2f} s" for one in pauses)
        self._say(f"node {number}: stopped after {stopped:.1f} s; no answer for {told}")

    async def _all_go_on(self, where: str) -> tuple[float, float]:
        sdk = await self._sdk.more(RECORDS, f"SDK {where}")
        each = RECORDS // PARTITIONS
        other = await asyncio.to_thread(lambda: self._kafka.more(each, f"librdkafka {where}"))
        self.pauses += (sdk, other)
        return sdk, other

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        self._kafka.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._kafka.stop)

    def _judge(self) -> None:
        told, read = self._sdk.acknowledged, self._book.read
        self.problems += self._sdk.errors[:5]
        self.problems += [f"librdkafka: {why}" for why in self._kafka.refused[:5]]
        if len(set(told)) != len(told):
            self.problems.append("one offset was acknowledged twice")
        twice = len(read) - len(set(read))
        self._say(
            f"{len(told)} and {self._kafka.count} acknowledged, {len(read)} read by "
            f"the group, {twice} of them again; longest pause {max(self.pauses):.2f} s"
        )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Restart them; 0 if nobody noticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tidelog-rolling-"))
    problems = asyncio.run(Rolling(folder, _say).tell(options.rounds))
    for problem in problems:
        _say(f"PROBLEM: {problem}")
    if problems or options.keep:
        _say(f"see {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

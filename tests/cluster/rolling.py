"""A rolling restart under load: `python -m tests.cluster.rolling [--rounds 1] [--keep]`.

Three processes are stopped in order (SIGTERM) and started again, one after the other, each as soon
as the one before says that it is ready. Meanwhile a producer and a consumer group of the SDK, with
their default retry, and an idempotent producer of librdkafka go on: nobody may be told of an error.
Then both topics are read back: what is there is what was acknowledged, record by record, and what
the group was handed. Told are the longest times in which a partition acknowledged nothing.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import tidelog
from tests.cluster.judge import faults
from tests.cluster.loads import Load
from tests.cluster.processes import Processes
from tests.cluster.readers import read_back
from tests.cluster.sdk_loads import SdkLoad
from tests.cluster.sdk_readers import Bookkeeper
from tests.cluster.telling import parser_of, say, told
from tests.cluster.topics import TOPIC as KAFKA_TOPIC
from tests.cluster.topics import create
from tests.cluster.waiting import Broken

TOPIC: Final = "sales"
GROUP: Final = "books"
PARTITIONS: Final = 6
RECORDS: Final = 50
"""Acknowledged to each producer by each partition between two blows."""


class Rolling:
    """See the module."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Begin in a folder that is empty."""
        self.nodes = Processes(folder)
        self._sdk = SdkLoad(self.nodes.url(), TOPIC, partitions=PARTITIONS)
        self._kafka = Load(self.nodes.kafka(), partitions=PARTITIONS)
        self._reader = Bookkeeper(self.nodes.url(), TOPIC, GROUP)
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
            async with self._reader.running(), self._sdk.running(), self._writing():
                await self._all_go_on("at first")
                self.pauses.clear()
                for _ in range(rounds):
                    for number in self.nodes.nodes:
                        await self._restart(number)
                await self._sdk.finish()
                await self._reader.read_up(self._sdk.acknowledged)
            await asyncio.to_thread(self._judge)
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
        silent = ", ".join(f"{one:.2f} s" for one in pauses)
        self._say(f"node {number}: stopped after {stopped:.1f} s; no answer for {silent}")

    async def _all_go_on(self, where: str) -> tuple[float, float]:
        sdk = await self._sdk.more(RECORDS, f"SDK {where}")
        other = await asyncio.to_thread(lambda: self._kafka.more(RECORDS, f"librdkafka {where}"))
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
        """Read both topics back: whatever was sent was acknowledged, so nothing else is there."""
        self.problems += self._sdk.errors[:5]
        self.problems += [f"librdkafka: {why}" for why in self._kafka.refused[:5]]
        book, read = self._reader.book, dict[str, int]()
        self.problems += book.odd[:5]
        for topic, load, seen in ((TOPIC, self._sdk, book.seen), (KAFKA_TOPIC, self._kafka, None)):
            found = read_back(self.nodes.kafka(), range(PARTITIONS), topic)
            wrong = faults(load.acknowledged, found, seen, all_told=True)
            self.problems += [f"{topic}, {one}" for one in wrong]
            read[topic] = sum(map(len, found.values()))
        handed = sum(map(len, book.seen.values()))
        self._say(
            f"{self._sdk.count} and {self._kafka.count} acknowledged, {read[TOPIC]} and "
            f"{read[KAFKA_TOPIC]} read back, {handed} by the group, {book.again} of them again; "
            f"longest pause {max(self.pauses):.2f} s"
        )


def main() -> int:
    """Restart them; 0 if nobody noticed."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    return told(parser, lambda folder, asked: asyncio.run(Rolling(folder, say).tell(asked.rounds)))


if __name__ == "__main__":
    sys.exit(main())

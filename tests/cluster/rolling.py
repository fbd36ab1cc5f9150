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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Final

import tidelog
from tests.cluster.processes import Processes
from tests.cluster.story import TOPIC as KAFKA_TOPIC
from tests.cluster.story import Load

TOPIC: Final = "sales"
GROUP: Final = "books"
PARTITIONS: Final = 6
PATIENCE_S: Final = 60.0
RECORDS: Final = 300
"""Acknowledged by each producer between two blows."""
SEND_S: Final = 0.005
"""Between two records of the SDK's producer."""


@dataclass(slots=True)
class SdkLoad:
    """A producer and a group of one member, and what they were told."""

    url: str
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    """Partition and offset of each record, in the order of the answers."""
    read: list[tuple[int, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    pause_s: float = 0.0
    """The longest time without an acknowledgement since it was asked last."""
    stopping: bool = False
    """Send no more."""
    _last: float = 0.0

    async def produce(self) -> None:
        """Send one record after the other; several are on their way at any time."""
        async with tidelog.connect(self.url) as client, client.producer() as producer:
            self._last = monotonic()
            async with asyncio.TaskGroup() as under_way:
                for number in count():
                    if self.stopping:
                        break
                    under_way.create_task(self._send(producer, number))
                    await asyncio.sleep(SEND_S)

    async def consume(self) -> None:
        """Read as a member of a group; what it commits, it has noted."""
        async with (
            tidelog.connect(self.url) as client,
            client.consumer(TOPIC, group=GROUP, start="earliest") as records,
        ):
            async for record in records:
                self.read.append((record.partition, record.offset))

    async def more(self, records: int, where: str) -> float:
        """Wait for so many more acknowledgements; return the longest pause meanwhile.

        Raises:
            TimeoutError: they do not come.
        """
        wanted, until = len(self.acknowledged) + records, monotonic() + PATIENCE_S
        while len(self.acknowledged) < wanted:
            if monotonic() > until:
                raise TimeoutError(f"{where}: {len(self.acknowledged)} of {wanted}")
            await asyncio.sleep(0.01)
        pause, self.pause_s = self.pause_s, 0.0
        return pause

    async def _send(self, producer: "tidelog.Producer[bytes, bytes]", number: int) -> None:
        try:
            ack = await producer.send(TOPIC, b"%d" % number, key=b"%d" % (number % 97))
        except tidelog.TidelogError as error:
            self.errors.append(f"produce: {type(error).__name__}: {error}")
            return
        assert ack.offset is not None, ack
        now = monotonic()
        self.pause_s, self._last = max(self.pause_s, now - self._last), now
        self.acknowledged.append((ack.partition, ack.offset))


class Rolling:
    """See the module."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Begin in a folder that is empty."""
        self.nodes = Processes(folder)
        self.problems: list[str] = []
        self.pauses: list[float] = []
        """Of the SDK's producer and of librdkafka's, one after the other."""
        self._say = say

    async def tell(self, rounds: int) -> list[str]:
        """Restart all nodes so often; return what went wrong."""
        await asyncio.to_thread(self.nodes.start)
        try:
            async with tidelog.connect(self.nodes.url()) as client:
                for topic in (TOPIC, KAFKA_TOPIC):
                    await client.topics.create(topic, partitions=PARTITIONS)
            load = SdkLoad(self.nodes.url())
            async with self._running(load), self._kafka() as kafka:
                await self._all_go_on(load, kafka, "at first")
                self.pauses.clear()
                for _ in range(rounds):
                    for number in self.nodes.nodes:
                        await self._restart(number, load, kafka)
                load.stopping = True
                await self._read_up(load)
            self._judge(load, kafka)
        finally:
            self.nodes.close()
        return self.problems

    async def _restart(self, number: int, load: SdkLoad, kafka: Load) -> None:
        node, began = self.nodes.nodes[number], monotonic()
        code = await asyncio.to_thread(node.terminate)
        stopped = monotonic() - began
        if code != 0:
            self.problems.append(f"node {number} stopped with exit code {code}")
        await asyncio.to_thread(lambda: self.nodes.open([number]))
        pauses = await self._all_go_on(load, kafka, f"after node {number}")
        told = ", ".join(f"{one:.2f} s" for one in pauses)
        self._say(f"node {number}: stopped after {stopped:.1f} s; no answer for {told}")

    async def _all_go_on(self, load: SdkLoad, kafka: Load, where: str) -> tuple[float, float]:
        sdk = await load.more(RECORDS, f"SDK {where}")
        other = await asyncio.to_thread(lambda: kafka.more(RECORDS, f"librdkafka {where}"))
        self.pauses += (sdk, other)
        return sdk, other

    async def _read_up(self, load: SdkLoad) -> None:
        """Wait until the group has read all that was acknowledged by now."""
        wanted, until = set(load.acknowledged), monotonic() + PATIENCE_S
        while not wanted.issubset(load.read):
            if monotonic() > until:
                missing = len(wanted.difference(load.read))
                self.problems.append(f"the group did not read {missing} records")
                return
            await asyncio.sleep(0.1)

    def _judge(self, load: SdkLoad, kafka: Load) -> None:
        self.problems += load.errors[:5]
        self.problems += [f"librdkafka: {why}" for why in kafka.refused[:5]]
        if len(set(load.acknowledged)) != len(load.acknowledged):
            self.problems.append("one offset was acknowledged twice")
        twice = len(load.read) - len(set(load.read))
        self._say(
            f"{len(load.acknowledged)} and {kafka.count} acknowledged, {len(load.read)} read by "
            f"the group, {twice} of them again; longest pause {max(self.pauses):.2f} s"
        )

    @asynccontextmanager
    async def _running(self, load: SdkLoad) -> AsyncIterator[None]:
        producing, consuming = map(asyncio.create_task, (load.produce(), load.consume()))
        try:
            yield
        finally:
            load.stopping = True
            await asyncio.wait([producing], timeout=PATIENCE_S)
            for task in (producing, consuming):
                if task.done() and not task.cancelled() and task.exception() is not None:
                    error = task.exception()
                    self.problems.append(f"{type(error).__name__}: {error}")
                task.cancel()
                with suppress(asyncio.CancelledError, tidelog.TidelogError):
                    await task

    @asynccontextmanager
    async def _kafka(self) -> AsyncIterator[Load]:
        load = Load(self.nodes.kafka())
        load.start()
        try:
            yield load
        finally:
            await asyncio.to_thread(load.stop)


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

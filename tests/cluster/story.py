"""The story of three processes: `python -m tests.cluster.story [--rounds 3] [--keep]`.

A producer of librdkafka, idempotent and with acks=all, goes on while nodes are killed (SIGKILL),
stopped in order (SIGTERM), and killed all at once. At the end everything is read back: whatever was
acknowledged is there, once, in the producer's order, and all three nodes hold the same bytes.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

from confluent_kafka import KafkaException

from tests.cluster.judge import Numbers, faults
from tests.cluster.loads import Load
from tests.cluster.processes import Processes
from tests.cluster.readers import read_back
from tests.cluster.telling import parser_of, say, told
from tests.cluster.topics import TOPIC, create, in_sync, leader
from tests.cluster.waiting import Broken

PARTITIONS: Final = 3
RECORDS: Final = 100
"""Acknowledged by each partition before and after each blow."""


class Story:
    """See the module."""

    def __init__(
        self, folder: Path, say: Callable[[str], None], *, settings: tuple[str, ...] = ()
    ) -> None:
        """Begin in a folder that is empty. `settings`: of each node, as `section.key=value`."""
        self.nodes = Processes(folder, settings=settings)
        self.load = Load(self.nodes.kafka(), partitions=PARTITIONS)
        self.problems: list[str] = []
        self._say = say

    def tell(self, rounds: int) -> list[str]:
        """Tell all of it; return what went wrong."""
        began = monotonic()
        self.nodes.start()
        self._say(f"three nodes serve after {monotonic() - began:.1f} s")
        try:
            create(self.nodes.kafka(), TOPIC, partitions=PARTITIONS)
            self.load.start()
            try:
                self.load.more(RECORDS, "at first")
                for number in range(rounds):
                    self._round(number)
            finally:
                self.load.stop()
            self._judge()
        except (Broken, KafkaException) as broken:
            self.problems.append(f"{type(broken).__name__}: {broken}")
        finally:
            self.nodes.close()
        return self.problems

    def _round(self, number: int) -> None:
        """Strike three times."""
        victim = leader(self.nodes.kafka(), number % PARTITIONS)
        self.nodes.nodes[victim].kill()
        self._say(f"killed {victim}: no answer for {self.load.more(RECORDS, 'after a kill'):.1f} s")
        self.nodes.start([victim])
        self._in_sync("after a kill")
        victim = leader(self.nodes.kafka(), (number + 1) % PARTITIONS)
        code = self.nodes.nodes[victim].terminate()
        if code != 0:
            self.problems.append(f"node {victim} stopped with exit code {code}")
        pause_s = self.load.more(RECORDS, "after a stop")
        self._say(f"stopped {victim}: no answer for {pause_s:.1f} s")
        self.nodes.start([victim])
        self._in_sync("after a stop")
        for node in self.nodes.nodes.values():
            node.kill()
        self.nodes.start()
        pause_s = self.load.more(RECORDS, "after the end of all")
        self._say(f"killed all: no answer for {pause_s:.1f} s")
        self._in_sync("after the end of all")

    def _in_sync(self, where: str) -> None:
        in_sync(self.nodes.kafka(), where)

    def _read_back(self) -> Numbers:
        return read_back(self.nodes.kafka(), range(PARTITIONS))

    def _judge(self) -> None:
        """Read everything back."""
        self.problems += [f"refused: {why}" for why in self.load.refused[:5]]
        read = self._read_back()
        self.problems += faults(self.load.acknowledged, read)
        self._say(f"{self.load.count} acknowledged, {sum(map(len, read.values()))} read back")


def main() -> int:
    """Tell the story; 0 if it ends well."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    return told(parser, lambda folder, asked: Story(folder, say).tell(asked.rounds))


if __name__ == "__main__":
    sys.exit(main())

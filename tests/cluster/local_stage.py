"""Where the rows of the story play: a cluster under load, healed and judged after each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import grpc

from tests.cluster.judge import faults
from tests.cluster.loads import Load
from tests.cluster.local_cluster import LocalCluster
from tests.cluster.readers import Follower, read_back
from tests.cluster.sdk_loads import Caller
from tests.cluster.topics import TOPIC, create
from tests.cluster.waiting import Broken, until
from tidelog.v1 import common_pb2, log_service_pb2, log_service_pb2_grpc
from tidelog.wire_errors import failure_of_status

T = TypeVar("T")

PARTITIONS: Final = 6
ASKED: Final = "asked"
"""A topic of the same shape that only single calls write to."""
EVERY_S: Final = 0.004
"""Between two records of the load."""
OUTCOMES: Final = {
    common_pb2.OUTCOME_DONE: "done",
    common_pb2.OUTCOME_NOT_DONE: "not done",
    common_pb2.OUTCOME_UNKNOWN: "unknown",
}


@dataclass(slots=True)
class Stage:
    """A cluster of three with load on it."""

    folder: Path
    cluster: LocalCluster = field(init=False)
    load: Load = field(init=False)
    reader: Follower = field(init=False)
    asked: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Partition and offset of each record of a single call that was acknowledged."""

    def __post_init__(self) -> None:
        """Start everything."""
        self.cluster = LocalCluster(self.folder / "cluster")
        try:
            self.cluster.begin()
            for topic in (TOPIC, ASKED):
                create(self.servers, topic, partitions=PARTITIONS)
                self.cluster.in_sync(topic)
            self.load = Load(self.servers, partitions=PARTITIONS, every_s=EVERY_S)
            self.load.start()
            self.reader = Follower(self.servers, partitions=PARTITIONS)
            self.load.back("at first")
        except BaseException:
            self.cluster.close()
            raise

    @property
    def servers(self) -> str:
        """Return where Kafka clients begin."""
        return self.cluster.addresses("kafka")

    def caller(self) -> Caller:
        """Return a program with the SDK that has begun to call."""
        return Caller(f"tidelog://{self.cluster.addresses('grpc')}", ASKED)

    def heal(self) -> None:
        """Start what does not run, and wait until all is well.

        Raises:
            Broken: it is not.
        """
        idle = [row["node"] for row in self.cluster.rows().values() if row["state"] != "running"]
        if idle:
            self.cluster.done("start")
        for topic in (TOPIC, ASKED):
            self.cluster.in_sync(topic)

    def judge(self) -> str:
        """Read everything back; return the figures.

        Raises:
            Broken: a promise is.
        """
        acknowledged = self.load.acknowledged
        self.reader.has(acknowledged)
        seen = self.reader.seen()
        if wrong := faults(acknowledged, read_back(self.servers, range(PARTITIONS)), seen):
            raise Broken("; ".join(wrong))
        if self.reader.odd:
            raise Broken(f"a consumer was shown {'; '.join(self.reader.odd[:3])}")
        if self.load.refused:
            raise Broken(f"a producer with default retries was told {self.load.refused[0]}")
        return f"{sum(map(len, acknowledged.values())):,} acknowledged so far, lost 0, doubled 0"

    def close(self) -> None:
        """End everything."""
        self.load.give_up()
        self.reader.stop()
        self.cluster.close()


@dataclass(frozen=True, slots=True)
class Told:
    """What a single call was answered."""

    outcome: str
    """done, not done or unknown."""
    reason: str

    def __str__(self) -> str:
        """Return it for a line of the story."""
        return f"{self.reason} ({self.outcome})" if self.reason else self.outcome


class Door:
    """Single calls to one node over gRPC, none of them tried again."""

    def __init__(self, stage: Stage, number: int) -> None:
        """Reach a node."""
        self._stage = stage
        self.channel = grpc.insecure_channel(stage.cluster.address(number, "grpc"))
        self._log: Any = log_service_pb2_grpc.LogServiceStub(self.channel)

    def produce(self, partition: int, value: bytes, *, timeout_s: float = 10.0) -> Told:
        """Write one record; what is acknowledged is remembered, and must be there in the end."""
        request = log_service_pb2.ProduceRequest()
        batch = request.batches.add(topic=ASKED, partition=partition)
        batch.records.add(value=value)
        told = called(lambda: self._log.Produce(request, timeout=timeout_s))
        if isinstance(told, Told):
            return told
        (row,) = told.results
        if row.HasField("error"):
            return Told(OUTCOMES[row.error.outcome], row.error.reason)
        self._stage.asked[value] = (partition, row.base_offset)
        return Told("done", "")

    def fetch(self, partition: int, offset: int = 0) -> list[bytes] | Told:
        """Read what one answer holds, from an offset on."""
        request = log_service_pb2.FetchRequest(encoding=common_pb2.ENCODING_RECORDS)
        request.cursors.add(topic=ASKED, partition=partition, offset=offset)
        told = called(lambda: self._log.Fetch(request, timeout=10.0))
        if isinstance(told, Told):
            return told
        (row,) = told.results
        if row.HasField("error"):
            return Told(OUTCOMES[row.error.outcome], row.error.reason)
        return [one.value for batch in row.records.batches for one in batch.records]

    def close(self) -> None:
        """Hang up."""
        self.channel.close()


def called(call: Callable[[], T]) -> T | Told:
    """Return the answer of a call, or what it was told; without a word of the node: unknown."""
    try:
        return call()
    except grpc.RpcError as refused:
        error = failure_of_status(cast(Any, refused), "the node").error
        return Told(error.outcome.replace("_", " "), error.reason)


def check_asked(stage: Stage) -> str:
    """Return how many single calls were acknowledged, all of them kept.

    Raises:
        Broken: one is lost, or twice there.
    """
    found: dict[int, list[bytes]] = {}
    for partition in range(PARTITIONS):
        door = Door(stage, 1)
        what = f"the records of {ASKED}/{partition}"
        found[partition] = until(partial(_rows, door, partition), what)
        door.close()
    for value, (partition, _) in stage.asked.items():
        if found[partition].count(value) != 1:
            count = found[partition].count(value)
            raise Broken(f"{value!r} of {ASKED}/{partition} was acknowledged and is there {count}x")
    return f"{len(stage.asked)} single calls acknowledged and kept"


def _rows(door: Door, partition: int) -> list[bytes] | None:
    """Return all records of a partition; None: the node cannot say now."""
    rows: list[bytes] = []
    while True:
        more = door.fetch(partition, len(rows))
        if isinstance(more, Told):
            return None
        if not more:
            return rows
        rows += more

"""Clients of a run: they append, read and commit at the handlers of any node, until it takes them.

A producer is idempotent and sends a batch again, unchanged, until it is acknowledged; so each of
its values stands in its partition exactly once, in order. A reader follows a partition through any
node, and commits how far it is to its group. What they were told is held against everything that
is told later:

    ACKED_IS_COMMITTED         what is acknowledged lies below a leader's high watermark.
    ACKED_ONCE                 every acknowledged value is at its offset, and nowhere else.
    ORDER_IS_KEPT              values of one producer stand in the order in which it sent them.
    READ_IS_COMMITTED          what a reader was shown at an offset stays there for ever.
    READ_STAYS_IN_RANGE        where a reader was shown to be, it can go on.
    SEQUENCES_ARE_KEPT         no producer is told that a batch of its own is missing.
    COMMITS_NEVER_FALL         what is committed is what was acknowledged last (`api.sim.ledger`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from google.protobuf.message import Message

from api.sim.breach import Breach
from api.sim.ledger import Commits
from api.sim.loop import US_PER_MS, Lane, SimLoop
from api.sim.refused import NO_ANSWER, Refused, row_refusal
from model.ports import Rand
from tidelog.v1 import common_pb2, group_service_pb2, log_service_pb2, topic_service_pb2

TOPIC: Final = "tide"
GROUP: Final = "readers"
WITHIN_MS: Final = 2_000
"""What a client gives a call."""
BACK_OFF_MS: Final = 40
VALUE_BYTES_MAX: Final = 400
RECORDS_MAX: Final = 4
MOVES_1_IN: Final = 8
"""Of a client's calls, one in so many goes to any node, though the last one has answered."""
SEQUENCE_REASONS: Final = frozenset(
    {"OUT_OF_ORDER_SEQUENCE", "UNKNOWN_PRODUCER_ID", "PRODUCER_FENCED", "DUPLICATE_SEQUENCE"}
)
BUGS: Final = frozenset({"INTERNAL", "CORRUPT_LOG", "CORRUPT_BATCH", "INVALID_REQUEST"})
"""Reasons that no client of this run may ever be told."""

AnswerT = TypeVar("AnswerT", bound=Message)


Told: TypeAlias = Callable[[Message | Refused], object]


class Ask(NamedTuple):
    """A call of a client."""

    name: str
    """`LogService/Fetch` and so on."""
    request: Message
    told: Told
    """Is called at most once, in the client's lane."""


class Network(Protocol):
    """How clients reach nodes."""

    def send(self, machine: int, ask: Ask) -> None:
        """Take a call to a node."""
        ...


class Client:
    """One program that talks to any node."""

    def __init__(
        self, name: str, doors: tuple[SimLoop, Lane, Rand, Network], machines: tuple[int, ...]
    ) -> None:
        """Live in a lane."""
        self.name = name
        self.loop, self.lane, self._rand, self._network = doors
        self._machines = machines
        self._at = machines[self._rand.randrange(len(machines))]

    async def ask(self, name: str, request: Message, answer: type[AnswerT]) -> AnswerT | Refused:
        """Ask the node that answered last; after a refusal the next call goes to any.

        `answer` is the type of what the call answers.
        """
        del answer
        waiting: asyncio.Future[Message | Refused] = self.loop.create_future()

        def told(outcome: Message | Refused) -> None:
            if not waiting.done():
                waiting.set_result(outcome)

        if self._rand.randrange(MOVES_1_IN) == 0:
            self._move()
        self._network.send(self._at, Ask(name, request, told))
        time_up = self.loop.call_later(WITHIN_MS / 500, told, Refused(NO_ANSWER, "time is up"))
        outcome = await waiting
        time_up.cancel()
        if not isinstance(outcome, Refused):
            return cast(AnswerT, outcome)
        self._move()
        self.judge(outcome)
        return outcome

    def _move(self) -> None:
        self._at = self._machines[self._rand.randrange(len(self._machines))]

    async def wait(self, ms: int) -> None:
        """Let some time pass: between the half of it and all of it."""
        waiting: asyncio.Future[None] = self.loop.create_future()
        us = ms * US_PER_MS // 2 + self._rand.randrange(1 + ms * US_PER_MS // 2)
        self.loop.post_at(self.lane, self.loop.now_us + us, waiting.set_result, None)
        await waiting

    def judge(self, refused: Refused) -> None:
        """Look at a refusal.

        Raises:
            Breach: nobody may be told that.
        """
        if refused.reason in BUGS:
            raise Breach("NO_BUG_IS_TOLD", f"{self.name}: {refused.reason}: {refused.detail}")

    def some(self, stop: int) -> int:
        """Return a number below `stop`."""
        return self._rand.randrange(stop)


class Ledger:
    """What all clients together were told."""

    def __init__(self, end_of: Callable[[int], int]) -> None:
        """Begin with nothing. `end_of` returns where what is committed of a partition ends."""
        self.end_of = end_of
        self.acked: dict[tuple[int, int], bytes] = {}
        """Partition and offset to the value that was acknowledged there."""
        self.shown: dict[tuple[int, int], bytes] = {}
        """The same, of what readers were shown."""
        self.commits: defaultdict[int, Commits] = defaultdict(Commits)
        """Of the group, by partition."""
        self.refusals: dict[str, int] = {}
        self.stopping = False
        """Producers end once what they have sent is acknowledged."""
        self.producing = 0
        """Producers that have not ended."""

    def refused(self, refused: Refused) -> None:
        """Count a refusal."""
        self.refusals[refused.reason] = self.refusals.get(refused.reason, 0) + 1

    def is_at(self, partition: int, offset: int, value: bytes) -> None:
        """Somebody was shown a value.

        Raises:
            Breach: another was shown there, or acknowledged.
        """
        for known in (self.shown, self.acked):
            if known.get((partition, offset), value) != value:
                seen = f"{TOPIC}/{partition} at {offset}: {value[:40]!r}, before: "
                raise Breach("READ_IS_COMMITTED", f"{seen}{known[partition, offset][:40]!r}")
        self.shown[partition, offset] = value


async def until_taken(
    client: Client, ledger: Ledger, attempt: Callable[[], Awaitable[Refused | None]]
) -> None:
    """Try again until it is not refused."""
    while (refused := await attempt()) is not None:
        ledger.refused(refused)
        await client.wait(BACK_OFF_MS)


async def create_topic(client: Client, ledger: Ledger, partitions: int) -> None:
    """Create the topic of a run, through any node."""
    request = topic_service_pb2.CreateTopicRequest()
    request.topic.name = TOPIC
    request.topic.partition_count = partitions
    request.topic.replication_factor = 3

    async def attempt() -> Refused | None:
        name, answer = "TopicService/CreateTopic", topic_service_pb2.CreateTopicResponse
        outcome = await client.ask(name, request, answer)
        if isinstance(outcome, Refused) and outcome.reason != "TOPIC_ALREADY_EXISTS":
            return outcome
        return None

    await until_taken(client, ledger, attempt)


class Producer:
    """Sends numbered batches to one partition."""

    def __init__(self, client: Client, ledger: Ledger, partition: int) -> None:
        """Have no id yet."""
        self._client, self._ledger, self._partition = client, ledger, partition
        self._producer = common_pb2.ProducerId()
        self._sequence = 0

    async def run(self) -> None:
        """Send until the ledger says to stop, and all is acknowledged."""
        self._ledger.producing += 1
        await until_taken(self._client, self._ledger, self._init)
        while not self._ledger.stopping:
            count = 1 + self._client.some(RECORDS_MAX)
            values = [self._value(self._sequence + at) for at in range(count)]
            request = self._request(values)
            await until_taken(self._client, self._ledger, partial(self._send, request, values))
            self._sequence += count
            await self._client.wait(120)
        self._ledger.producing -= 1

    async def _init(self) -> Refused | None:
        name, answer = "LogService/InitProducer", log_service_pb2.InitProducerResponse
        outcome = await self._client.ask(name, log_service_pb2.InitProducerRequest(), answer)
        if isinstance(outcome, Refused):
            return outcome
        self._producer.CopyFrom(outcome.producer)
        return None

    async def _send(
        self, request: log_service_pb2.ProduceRequest, values: list[bytes]
    ) -> Refused | None:
        outcome = await self._client.ask(
            "LogService/Produce", request, log_service_pb2.ProduceResponse
        )
        if isinstance(outcome, Refused):
            return outcome
        (row,) = outcome.results
        if row.HasField("error"):
            refused = row_refusal(row.error)
            self._client.judge(refused)
            if refused.reason in SEQUENCE_REASONS:
                seen = f"{self._client.name}: {refused.reason}: {refused.detail}"
                raise Breach("SEQUENCES_ARE_KEPT", seen)
            return refused
        for at, value in enumerate(values):
            place = (self._partition, row.base_offset + at)
            if self._ledger.acked.setdefault(place, value) != value:
                raise Breach("ACKED_ONCE", f"{TOPIC}/{place}: {value[:40]!r} and another")
            self._ledger.is_at(*place, value)
        end = self._ledger.end_of(self._partition)
        if row.base_offset + len(values) > end:
            seen = f"{self._client.name}: {row.base_offset} + {len(values)}, committed to {end}"
            raise Breach("ACKED_IS_COMMITTED", seen)
        return None

    def _value(self, number: int) -> bytes:
        text = f"{self._client.name} {number} ".encode()
        return text + b"." * self._client.some(VALUE_BYTES_MAX)

    def _request(self, values: list[bytes]) -> log_service_pb2.ProduceRequest:
        request = log_service_pb2.ProduceRequest(acks=log_service_pb2.ACKS_ALL)
        request.timeout.FromMilliseconds(WITHIN_MS)
        batch = request.batches.add(topic=TOPIC, partition=self._partition)
        for value in values:
            batch.records.add(key=b"k", value=value)
        batch.producer.producer.CopyFrom(self._producer)
        batch.producer.base_sequence = self._sequence
        return request


class Reader:
    """Follows one partition, and commits how far it is."""

    def __init__(self, client: Client, ledger: Ledger, partition: int) -> None:
        """Begin at the start."""
        self._client, self._ledger, self._partition = client, ledger, partition
        self.position = 0
        self._epoch: int | None = None
        """Of the record before the position."""
        self.values: list[bytes] = []

    async def run(self) -> None:
        """Read on, and commit now and then."""
        while True:
            refused = await self.read()
            if refused is not None:
                self._ledger.refused(refused)
            elif self._client.some(4) == 0:
                await self.look()
                await self.commit()
            await self._client.wait(200)

    async def read(self) -> Refused | None:
        """Take one step; None: there was an answer."""
        request = log_service_pb2.FetchRequest(encoding=common_pb2.ENCODING_RECORDS)
        cursor = request.cursors.add(topic=TOPIC, partition=self._partition)
        cursor.offset = self.position
        if self._epoch is not None:
            cursor.leader_epoch = self._epoch
        outcome = await self._client.ask("LogService/Fetch", request, log_service_pb2.FetchResponse)
        if isinstance(outcome, Refused):
            return outcome
        (row,) = outcome.results
        if row.HasField("error"):
            refused = row_refusal(row.error)
            self._client.judge(refused)
            if refused.reason == "OFFSET_OUT_OF_RANGE":
                raise Breach("READ_STAYS_IN_RANGE", f"{self._client.name}: {refused.detail}")
            return refused
        if not row.HasField("records"):
            raise Breach("READ_STAYS_IN_RANGE", f"{self._client.name}: {row}")
        for batch in row.records.batches:
            for record in batch.records:
                if record.offset >= self.position:
                    self._took(record.offset, record.value)
                    self._epoch = batch.leader_epoch
        return None

    async def look(self) -> None:
        """Look at what is committed."""
        asking = group_service_pb2.ListGroupOffsetsRequest(group=GROUP, topics=[TOPIC])
        told = await self._client.ask(
            "ConsumerGroupService/ListGroupOffsets",
            asking, group_service_pb2.ListGroupOffsetsResponse,
        )  # fmt: skip
        found: list[int] = []
        if isinstance(told, Refused):
            self._ledger.refused(told)
            if told.reason != "UNKNOWN_GROUP":
                return
        else:
            found += (
                one.committed.offset for one in told.offsets
                if one.partition.partition == self._partition and one.HasField("committed")
            )  # fmt: skip
        commits = self._ledger.commits[self._partition]
        commits.shown(found[0] if found else None, to=self._client.name)

    async def commit(self) -> None:
        """Commit the position."""
        request = group_service_pb2.CommitOffsetsRequest(group=GROUP)
        request.cursors.add(topic=TOPIC, partition=self._partition, offset=self.position)
        outcome = await self._client.ask(
            "ConsumerGroupService/CommitOffsets",
            request, group_service_pb2.CommitOffsetsResponse,
        )  # fmt: skip
        commits, offset = self._ledger.commits[self._partition], request.cursors[0].offset
        if not isinstance(outcome, Refused):
            if not outcome.results[0].HasField("error"):
                commits.acknowledged(offset)
                return
            outcome = row_refusal(outcome.results[0].error)
        self._ledger.refused(outcome)
        if outcome.may_be_done:
            commits.unanswered(offset)

    def _took(self, offset: int, value: bytes) -> None:
        if offset != self.position:
            seen = f"{self._client.name}: {offset} after {self.position - 1}"
            raise Breach("READ_IS_COMMITTED", seen)
        end = self._ledger.end_of(self._partition)
        if offset >= end:
            seen = f"{self._client.name}: {TOPIC}/{self._partition} at {offset}, committed to {end}"
            raise Breach("READ_IS_COMMITTED", seen)
        self._ledger.is_at(self._partition, offset, value)
        self.values.append(value)
        self.position = offset + 1


def check_partition(ledger: Ledger, reader: Reader, partition: int) -> None:
    """Hold the whole of a partition against what was acknowledged.

    Raises:
        Breach: something is missing, twice there, or out of order.
    """
    values = reader.values
    for (number, offset), value in ledger.acked.items():
        if number == partition and (offset >= len(values) or values[offset] != value):
            raise Breach("ACKED_ONCE", f"{TOPIC}/{partition} at {offset}: {value[:40]!r} is lost")
    following: dict[bytes, int] = {}
    for offset, value in enumerate(values):
        name, count = value.split(b" ")[:2]
        if int(count) != following.get(name, 0):
            seen = f"{TOPIC}/{partition} at {offset}: {name.decode()} {int(count)}"
            raise Breach("ORDER_IS_KEPT", f"{seen}, expected {following.get(name, 0)}")
        following[name] = int(count) + 1

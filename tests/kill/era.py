"""One era: its topics, the clients that write and follow them, and what they were promised.

A directory goes through several; the topics of the one before are deleted, so that what is read
back stays small and deletions are under way when the next kill comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.kill.follower import Follower
from tests.kill.group_load import GroupLoad, GroupPlan
from tests.kill.grpc_load import GrpcLoad
from tests.kill.kafka_load import KafkaLoad, Sender
from tests.kill.ledger import Ledger
from tests.kill.node_process import Doors
from tests.kill.payload import Author, Place
from tests.kill.verifier import Reading, Verifier

ANSWER_S_MAX: Final = 120.0
"""All that was sent is answered within this, however busy the machine is."""
LOOK_S: Final = 0.005
SEGMENT_BYTES: Final = 64 << 10
LONG_SEGMENT_BYTES: Final = 64 << 20
"""No end is reached: a start reads more of such a segment than it reads at once."""
FLUSH_MS: Final = 1_000
PRODUCERS_PER_ERA: Final = 100


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic to be."""

    name: str
    partitions: int
    config: dict[str, str]

    def places(self, era: int) -> tuple[Place, ...]:
        """Return its partitions."""
        return tuple(Place(f"e{era}-{self.name}", number) for number in range(self.partitions))


QUORUM: Final = {"segment.bytes": str(SEGMENT_BYTES)}
LONG: Final = {"segment.bytes": str(LONG_SEGMENT_BYTES)}
ASYNC: Final = {**QUORUM, "tidelog.flush": "async", "tidelog.flush.ms": str(FLUSH_MS)}
STAMPED: Final = {**QUORUM, "message.timestamp.type": "LogAppendTime"}

QUORUM_TOPICS: Final = (
    TopicPlan("quorum-1", 1, LONG),
    TopicPlan("quorum-24", 24, QUORUM),
    TopicPlan("stamped-4", 4, STAMPED),
)
ALL_TOPICS: Final = (
    *QUORUM_TOPICS,
    TopicPlan("async-1", 1, ASYNC | LONG),
    TopicPlan("async-24", 24, ASYNC),
)


@dataclass(frozen=True, slots=True)
class SenderPlan:
    """A producer to be; it writes to those of its topics that there are."""

    topics: tuple[str, ...]
    idempotent: bool
    config: dict[str, Any] | None
    """Of librdkafka; None: over gRPC."""


SENDERS: Final = (
    SenderPlan(("quorum-24",), idempotent=True, config={}),
    SenderPlan(("quorum-1", "async-1"), idempotent=True, config={"compression.type": "lz4"}),
    SenderPlan(("async-24",), idempotent=True, config={"compression.type": "zstd"}),
    SenderPlan(("stamped-4",), idempotent=True, config={"compression.type": "gzip"}),
    SenderPlan(("quorum-24", "async-24"), idempotent=False, config={"compression.type": "snappy"}),
    SenderPlan(("quorum-24", "stamped-4"), idempotent=True, config=None),
    SenderPlan(("quorum-1", "async-24"), idempotent=True, config=None),
    SenderPlan(("async-1", "quorum-1"), idempotent=False, config=None),
)
LEADER_ONLY: Final = SenderPlan(("quorum-1",), idempotent=False, config={"acks": 1})
"""Its records survive a kill, but not a power cut."""


class Stuck(Exception):  # noqa: N818 - says what happened
    """Something that must come did not."""


@dataclass(frozen=True, slots=True)
class Load:
    """Everybody who writes."""

    kafka: KafkaLoad
    grpc: GrpcLoad
    groups: GroupLoad

    def go(self) -> None:
        """Send and commit, as fast as answers come."""
        self.kafka.go()
        self.grpc.go()
        self.groups.go()

    def pause(self) -> None:
        """Send and commit nothing new."""
        self.kafka.pause()
        self.grpc.pause()
        self.groups.pause()

    def on_the_way(self) -> int:
        """Return how many records were written to a socket and have no answer."""
        return self.kafka.on_the_way() + self.grpc.on_the_way()

    def close(self) -> None:
        """Let all clients go."""
        self.groups.close()
        self.kafka.close()
        self.grpc.close()


class Era:
    """Topics, clients and ledger; from `begin` to `end`."""

    def __init__(
        self,
        number: int,
        doors: Doors,
        *,
        topics: Sequence[TopicPlan],
        senders: Sequence[SenderPlan],
        groups: Sequence[GroupPlan] = (),
    ) -> None:
        """Create the topics and connect; nothing is sent yet."""
        self.number = number
        self.ledger = Ledger()
        self._admin = AdminClient({"bootstrap.servers": doors.kafka, "log_level": 2})
        self._topics = [
            NewTopic(place.topic, plan.partitions, 1, config=plan.config)
            for plan in topics
            for place in plan.places(number)[:1]
        ]
        self._create()
        places = {plan.name: plan.places(number) for plan in topics}
        kafka: list[Sender] = []
        grpc: list[Author] = []
        for index, plan in enumerate(senders, number * PRODUCERS_PER_ERA):
            theirs = tuple(place for name in plan.topics for place in places.get(name, ()))
            author = Author(index, theirs, plan.idempotent)
            if theirs and plan.config is None:
                grpc.append(author)
            elif theirs:
                kafka.append(Sender(author, plan.config or {}))
        everywhere = tuple(place for theirs in places.values() for place in theirs)
        self.load = Load(
            KafkaLoad(doors.kafka, kafka, self.ledger),
            GrpcLoad(doors.grpc, grpc, self.ledger),
            GroupLoad(doors.grpc, groups, places=places, records=self.ledger, era=number),
        )
        self._follower = Follower(doors.kafka, everywhere, self.ledger)
        self._verifier = Verifier(doors, everywhere, self.ledger)

    def answered_more(self, count: int) -> None:
        """Wait until so many more records have their answer.

        Raises:
            Stuck: they do not come.
        """
        wanted = self.ledger.answered() + count
        self._until(lambda: self.ledger.answered() >= wanted, f"{count} more answers")

    def drain(self) -> None:
        """Send nothing new, and wait until everything sent has its answer.

        Raises:
            Stuck: it has none.
        """
        self.load.pause()
        self._until(lambda: self.ledger.unanswered() == 0, "an answer to everything sent")

    def read_back(self) -> Reading:
        """Read everything and compare."""
        return self._verifier.read_all()

    def end(self, *, delete: bool) -> None:
        """Let the clients go; delete the topics."""
        self.load.close()
        self._follower.close()
        if delete:
            names = [topic.topic for topic in self._topics]
            for future in self._admin.delete_topics(names, request_timeout=ANSWER_S_MAX).values():
                future.result()

    def _create(self) -> None:
        for topic, future in self._admin.create_topics(
            self._topics, request_timeout=ANSWER_S_MAX
        ).items():
            try:
                future.result()
            except KafkaException as error:
                raise Stuck(f"topic {topic} cannot be created: {error}") from error

    def _until(self, holds: Any, what: str) -> None:
        until = monotonic() + ANSWER_S_MAX
        while not holds():
            if self.ledger.problems:
                raise Stuck(f"a promise is broken already, waiting for {what}")
            if monotonic() > until:
                raise Stuck(f"{what} did not come in {ANSWER_S_MAX:.0f} s")
            sleep(LOOK_S)

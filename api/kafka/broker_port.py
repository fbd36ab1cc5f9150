"""What the Kafka listener needs of a broker: use cases, and the image that Metadata shows."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from api.broker.acks import Acks, Produced
from api.broker.fetch import Fetched, Want
from api.broker.place import Place
from api.broker.resolve import Resolved
from cluster.controller.image import MetadataImage, TopicImage
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.shell.hosted_partition import HostedPartition
from model.errors import RequestError
from model.ids import NodeId, ProducerEpoch, ProducerId, TopicId
from model.principal import Principal


class BrokerPort(Protocol):
    """The broker of this node. Loop only; what may take longer than a call is awaited."""

    @property
    def image(self) -> MetadataImage:
        """The newest metadata that this node has applied."""
        ...

    @property
    def node_id(self) -> NodeId:
        """This node's number."""
        ...

    @property
    def cluster_id(self) -> str:
        """The cluster's name."""
        ...

    @property
    def auto_create_topics(self) -> bool:
        """Whether a topic that is asked for by name comes into being."""
        ...

    @property
    def topic_defaults(self) -> Mapping[str, str]:
        """What this node's own configuration sets for topics, by topic setting's name."""
        ...

    def kafka_endpoint(self, listener: str) -> tuple[str, int]:
        """Return the host and port that clients of this listener are told."""
        ...

    def advertise(self, listener: str, host: str, port: int) -> None:
        """Tell clients of a listener to come here, from now on."""
        ...

    def coordinator_of(self, group: str) -> NodeId | None:
        """Return which node coordinates a group; None: none does now."""
        ...

    def partition(self, topic: str, number: int) -> HostedPartition:
        """Return a partition. Raises RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION, NOT_LEADER."""
        ...

    def partition_by_id(self, topic_id: TopicId, number: int) -> HostedPartition:
        """Return a partition of a topic by its id; raises as `partition`."""
        ...

    def batch_not_found(
        self, topic: str | TopicId, number: int, batch: memoryview, *, refusal: RequestError
    ) -> None:
        """Note that a batch was refused since its partition is not here, or not yet."""
        ...

    def produce(
        self,
        principal: Principal,
        partition: HostedPartition,
        records: memoryview,
        *,
        acks: Acks,
        timeout_ms: int,
        done: Callable[[Produced | RequestError], None],
    ) -> None:
        """Append one batch; `records` is copied before this returns, `done` called once."""
        ...

    def fetch(
        self,
        principal: Principal,
        wants: Sequence[Want],
        *,
        min_bytes: int,
        max_bytes: int,
        max_wait_ms: int,
        done: Callable[[Sequence[Fetched]], None],
    ) -> Callable[[], None]:
        """Read on; `done` is called once unless the returned call cancels it before."""
        ...

    def resolve(
        self, principal: Principal, partition: HostedPartition, place: Place
    ) -> Awaitable[Resolved]:
        """Turn a place into an offset. Raises RequestError."""
        ...

    async def create_topics(
        self, principal: Principal, topics: Sequence[CreateTopic]
    ) -> list[TopicImage | RequestError]:
        """Create topics, one answer each."""
        ...

    async def delete_topics(
        self, principal: Principal, topics: Sequence[DeleteTopic]
    ) -> list[TopicImage | RequestError]:
        """Delete topics, one answer each: what was deleted."""
        ...

    async def ensure_topics(
        self, principal: Principal, names: Sequence[str]
    ) -> list[TopicImage | RequestError]:
        """Create those that are absent, as topics are on first use; one answer each."""
        ...

    async def init_producer_id(
        self, principal: Principal, current: tuple[ProducerId, ProducerEpoch] | None
    ) -> tuple[ProducerId, ProducerEpoch]:
        """Give out a producer id, or a higher epoch of the `current` one (KIP-360)."""
        ...

"""The committed metadata as every other part of a node sees it: immutable, replaced whole.

A new image shares with the one before whatever did not change: topics are values, and the two maps
of topics are copied only when a topic was touched, once for each committed batch. The copy is of
references (20 us for 5,000 topics), never of topics. Handed to other threads as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from cluster.controller.configs import TopicKind, TopicSettings
from model.ids import (
    GroupId,
    Index,
    LeaderEpoch,
    NodeId,
    ProducerId,
    RegistrationEpoch,
    TopicId,
    TopicName,
    WallMs,
)

_NO_INDEX: Final = Index(0)
_NO_TIME: Final = WallMs(0)
_FIRST_PRODUCER: Final = ProducerId(0)


class PartitionImage(NamedTuple):
    """One partition: who holds it, who leads it, who is in sync."""

    number: int
    leader: NodeId | None
    leader_epoch: LeaderEpoch
    replicas: tuple[NodeId, ...]
    """Preferred leader first."""
    isr: tuple[NodeId, ...]
    elr: tuple[NodeId, ...] = ()
    """Out of sync, yet complete enough to lead (KIP-966)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicImage:
    """One topic."""

    name: TopicName
    topic_id: TopicId
    kind: TopicKind
    partitions: tuple[PartitionImage, ...]
    """By number, without a gap."""
    config: Mapping[str, str]
    """What was set for this topic, by name."""
    config_version: int
    """Counts the changes of `config`."""
    settings: TopicSettings
    """What holds: `config`, else this node's defaults, else the built-in ones."""
    created_at: WallMs
    internal: bool

    @property
    def replication_factor(self) -> int:
        """Replicas of each partition."""
        return len(self.partitions[0].replicas)

    @property
    def etag(self) -> str:
        """Stands for this version of the config of this very topic, not of a later namesake."""
        return f"{self.topic_id.hex()}.{self.config_version}"


class Endpoint(NamedTuple):
    """Where clients of one kind reach a node."""

    listener: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerImage:
    """One node that holds replicas."""

    node: NodeId
    directory: bytes
    """16 bytes: the uuid of its log directory."""
    registration_epoch: RegistrationEpoch
    endpoints: tuple[Endpoint, ...]
    rack: str | None
    version: str
    """Release that it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataImage:
    """Everything that the quorum has decided, up to and with the entry `applied`."""

    applied: Index = _NO_INDEX
    cluster_id: str = ""
    """Empty until the cluster is formed."""
    formed_at: WallMs = _NO_TIME
    topics: Mapping[TopicName, TopicImage] = field(default_factory=lambda: MappingProxyType({}))
    topics_by_id: Mapping[TopicId, TopicImage] = field(default_factory=lambda: MappingProxyType({}))
    brokers: Mapping[NodeId, BrokerImage] = field(default_factory=lambda: MappingProxyType({}))
    deleted: frozenset[TopicId] = frozenset()
    """Topics that are gone while their files may still exist. No id is ever used again."""
    next_producer_id: ProducerId = _FIRST_PRODUCER
    group_configs: Mapping[GroupId, Mapping[str, str]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """What is set for consumer groups, by the setting's name; groups without any are not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataDelta:
    """What one committed batch changed."""

    created: tuple[TopicImage, ...] = ()
    changed: tuple[TopicImage, ...] = ()
    deleted: tuple[TopicId, ...] = ()
    brokers: tuple[BrokerImage, ...] = ()
    """Registered anew."""


EMPTY: Final = MetadataImage()
"""Before the first entry."""

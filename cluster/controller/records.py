"""What the quorum's log says: the only things that ever change the metadata.

Bytes: docs/formats/metadata_records.md, written and read by `cluster.controller.codec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cluster.controller.configs import TopicKind
from cluster.controller.image import Endpoint, PartitionImage
from model.ids import GroupId, NodeId, ProducerId, RegistrationEpoch, TopicId, TopicName, WallMs


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFormed:
    """The first record of a cluster."""

    cluster_id: str
    formed_at: WallMs


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRegistered:
    """A node came up with its log directory."""

    node: NodeId
    directory: bytes
    registration_epoch: RegistrationEpoch
    clean: bool
    """Whether it had been stopped in order before."""
    endpoints: tuple[Endpoint, ...]
    rack: str | None
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicCreated:
    """A topic and its partitions exist from here on; in a snapshot, as it was then."""

    topic_id: TopicId
    name: TopicName
    kind: TopicKind
    internal: bool
    created_at: WallMs
    config_version: int
    config: Mapping[str, str]
    partitions: tuple[PartitionImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsAdded:
    """A topic has grown by these partitions, which continue its numbers."""

    topic_id: TopicId
    partitions: tuple[PartitionImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsChanged:
    """Leaders, epochs or in-sync replicas of some partitions of a topic; all of each row holds."""

    topic_id: TopicId
    partitions: tuple[PartitionImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfigured:
    """A topic's config, whole."""

    topic_id: TopicId
    config_version: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfigured:
    """What is set for a consumer group, whole; empty: nothing any more."""

    group: GroupId
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDeleted:
    """A topic is gone; its files may be removed, and only now (P46)."""

    topic_id: TopicId


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFilesRemoved:
    """Nothing of a deleted topic is on disk any more."""

    topic_id: TopicId


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerIdsAllocated:
    """The producer ids first <= id < first + count belong to a node; all below are given out."""

    node: NodeId
    first: ProducerId
    count: int


MetadataRecord: TypeAlias = (
    ClusterFormed
    | BrokerRegistered
    | TopicCreated
    | PartitionsAdded
    | PartitionsChanged
    | TopicConfigured
    | TopicDeleted
    | TopicFilesRemoved
    | ProducerIdsAllocated
    | GroupConfigured
)

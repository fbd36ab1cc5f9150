"""What the quorum's log says: the only things that ever change the metadata.

Bytes: docs/formats/metadata_records.md, written and read by `cluster.controller.codec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cluster.controller.configs import TopicKind
from cluster.controller.image import (
    FIRST_LEVEL,
    NO_INCARNATION,
    NOTHING_REMEMBERED,
    Endpoint,
    FeatureLevels,
    PartitionImage,
    Standing,
)
from model.ids import GroupId, NodeId, ProducerId, RegistrationEpoch, TopicId, TopicName, WallMs


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFormed:
    """The first record of a cluster."""

    cluster_id: str
    formed_at: WallMs


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRegistered:
    """A node came up with its log directory; in a snapshot, what is known of it then."""

    node: NodeId
    directory: bytes
    registration_epoch: RegistrationEpoch
    clean: bool
    """Whether it had been stopped in order before."""
    endpoints: tuple[Endpoint, ...]
    rack: str | None
    version: str
    remembered: RegistrationEpoch = NOTHING_REMEMBERED
    """What the directory had written down before it asked: tells an older copy of it."""
    incarnation: bytes = NO_INCARNATION
    levels: FeatureLevels = FIRST_LEVEL
    standing: Standing = Standing.RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStandingChanged:
    """What a registered node may do from here on."""

    node: NodeId
    registration_epoch: RegistrationEpoch
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRemoved:
    """A node that holds nothing is no part of the cluster any more."""

    node: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteWithheld:
    """An operator has taken the vote of a node under that directory, or allows it one again."""

    node: NodeId
    directory: bytes
    withheld: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLevelRaised:
    """From here on, formats of this level are written."""

    level: int


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
    """Leaders, epochs, in-sync replicas of some partitions of a topic; all of each row holds."""

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
    nodes: tuple[NodeId, ...] = ()
    """Where files of it may be, rising; none: an older release did not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFilesRemoved:
    """Nothing of a deleted topic is on a node's disk any more."""

    topic_id: TopicId
    node: NodeId | None = None
    """None: on nobody's; an older release did not say whose."""


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
    | BrokerStandingChanged
    | BrokerRemoved
    | FeatureLevelRaised
    | VoteWithheld
)

"""The committed metadata as every other part of a node sees it: immutable, replaced whole.

A new image shares with the one before whatever did not change: topics are values, and the two maps
of topics are copied only when a topic was touched, once for each committed batch. The copy is of
references (20 us for 5,000 topics), never of topics. Handed to other threads as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from cluster.controller.configs import TopicKind, TopicSettings
from cluster.controller.deleted_topics import DeletedTopics, GivenUp
from model.ids import (
    GroupId,
    Index,
    LeaderEpoch,
    NodeId,
    Offset,
    ProducerId,
    RegistrationEpoch,
    TopicId,
    TopicName,
    WallMs,
)

_NO_INDEX: Final = Index(0)
_NO_TIME: Final = WallMs(0)
_FIRST_PRODUCER: Final = ProducerId(0)
NO_EPOCH: Final = LeaderEpoch(-1)
"""Below every leader epoch: of an empty log, and of what never happened."""
NO_INCARNATION: Final = bytes(16)
"""Of a process that did not say which it is: an older release, or the only voter."""


NO_NODES: Final[frozenset[NodeId]] = frozenset()
NOTHING_REMEMBERED: Final = RegistrationEpoch(0)
"""Of a directory that had no registration before."""


class LogEnd(NamedTuple):
    """How far a recovered log goes; the greater pair is the more complete log."""

    last_epoch: LeaderEpoch
    """Leader epoch of its last record; NO_EPOCH if it is empty."""
    log_end: Offset


class Unclean(NamedTuple):
    """A member of the ELR that has restarted without having been stopped in order.

    What it had not flushed may be gone. It stays a candidate, since it may hold what nobody else
    has, until a leader answers for every committed record (`cluster.controller.isr`).
    """

    node: NodeId
    recovered: LogEnd | None = None
    """Where its log ends, said while the partition has no leader; None: not said yet."""


class PartitionImage(NamedTuple):
    """One partition: who holds it, who leads it, who is in sync.

    Without a leader, ISR and ELR are those of the last leadership: together they are the
    candidates, of whom some committed record may be on one only.
    """

    number: int
    leader: NodeId | None
    leader_epoch: LeaderEpoch
    """Of the leader, or of the last one; an election raises it by one."""
    replicas: tuple[NodeId, ...]
    """Preferred leader first."""
    isr: tuple[NodeId, ...]
    """In the order of `replicas`, as is the ELR; nobody in it is marked as unclean."""
    elr: tuple[NodeId, ...] = ()
    """Out of sync, yet complete enough to lead (KIP-966), but for those marked as unclean."""
    unclean: tuple[Unclean, ...] = ()
    """Marks on members of the ELR."""
    lost: tuple[NodeId, ...] = ()
    """Nodes whose copy was wiped while fewer than min.insync.replicas others were candidates."""
    partition_epoch: int = 0
    """Counts the changes of this row, whatever they change."""
    lossy_epoch: LeaderEpoch = NO_EPOCH
    """The newest leader epoch that may lack committed records; NO_EPOCH: none ever did."""

    @property
    def candidates(self) -> tuple[NodeId, ...]:
        """Who may lead next: ISR and ELR, preferred leader first."""
        return tuple(node for node in self.replicas if node in self.isr or node in self.elr)

    @property
    def marked(self) -> frozenset[NodeId]:
        """Members of the ELR that are marked as unclean."""
        return frozenset([mark.node for mark in self.unclean]) if self.unclean else NO_NODES


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
    def holders(self) -> frozenset[NodeId]:
        """Every node that has a replica of one of its partitions."""
        return frozenset(node for row in self.partitions for node in row.replicas)

    @property
    def etag(self) -> str:
        """Stands for this version of the config of this very topic, not of a later namesake."""
        return f"{self.topic_id.hex()}.{self.config_version}"


class Standing(IntEnum):
    """What a registered node may do now; its number stands in metadata records."""

    RUNNING = 0
    BARRED = 1
    """In sync like others, but leads nothing: its clock is in doubt (P39)."""
    STOPPING = 2
    """Its leaderships are handed over while there is somebody to take them."""
    FENCED = 3
    """Taken for dead; a heartbeat of the same process brings it back."""
    STOPPED = 4
    """Left in order; only a new registration brings it back."""

    @property
    def is_up(self) -> bool:
        """Whether it may stay in an ISR."""
        return self <= Standing.STOPPING

    @property
    def may_join(self) -> bool:
        """Whether it may enter an ISR (KIP-841), and gets new replicas before others do."""
        return self <= Standing.BARRED

    @property
    def may_lead(self) -> bool:
        """Whether it is elected."""
        return self is Standing.RUNNING


class FeatureLevels(NamedTuple):
    """Which feature levels a release can work at, both included."""

    least: int
    greatest: int


FIRST_LEVEL: Final = FeatureLevels(1, 1)
"""Of releases that do not say what they can do."""


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
    remembered: RegistrationEpoch = NOTHING_REMEMBERED
    """What its directory had written down before it asked for this registration."""
    incarnation: bytes = NO_INCARNATION
    """16 random bytes of the process that registered."""
    levels: FeatureLevels = FIRST_LEVEL
    standing: Standing = Standing.RUNNING


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
    deleted: DeletedTopics = field(default_factory=DeletedTopics)
    """Topics that are gone, and the nodes that have not said yet that no file of them is left.

    A node that was away finds here what it has to remove, however it caught up. No id is ever used
    again.
    """
    next_producer_id: ProducerId = _FIRST_PRODUCER
    group_configs: Mapping[GroupId, Mapping[str, str]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """What is set for consumer groups, by the setting's name; groups without any are not here."""
    votes_withheld: Mapping[NodeId, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """Nodes whose vote an operator has taken, and under which directory: they get none by
    themselves."""
    feature_level: int = 1
    """What every node must be able to write and read (P66)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataDelta:
    """What one committed batch changed."""

    created: tuple[TopicImage, ...] = ()
    changed: tuple[TopicImage, ...] = ()
    deleted: tuple[TopicId, ...] = ()
    brokers: tuple[BrokerImage, ...] = ()
    """Registered anew, or of another standing."""
    brokers_removed: tuple[NodeId, ...] = ()
    given_up: tuple[GivenUp, ...] = ()
    """Not told to who was sent a snapshot instead of what lay between."""


EMPTY: Final = MetadataImage()
"""Before the first entry."""

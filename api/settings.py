"""Every setting of a node in one tree. Where values come from is in `api.config_file`.

A section is a frozen dataclass whose fields carry a `Setting`; most belong to the component that
they steer. Topic settings a node gives as defaults stand beside them under Kafka's names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

from api.addresses import (
    check_address,
    check_told,
    is_every_address,
    is_loopback,
    split_address,
)
from api.cluster_settings import ClusterSection, PeerListener
from api.kafka_settings import KafkaSettings
from consumer_groups.settings import GroupSettings
from logstore.settings import LogSettings
from model.limits import MEMORY_BUDGET_PERCENT_DEFAULT, MIB, PARTITIONS_PER_TOPIC_MAX
from model.settings import Setting, Unit, check_bounds

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PATH_CHARACTERS_MAX: Final = 4_096
NODE_ID_MAX: Final = (1 << 31) - 1


class EventLoop(Enum):
    """Which event loop runs the node."""

    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


class SecurityMode(Enum):
    """Who may connect without proving who it is."""

    LOOPBACK = "loopback"
    """Programs on this machine."""
    OPEN = "open"
    """Everybody who reaches a listener; an operator has to say so."""


class LogLevel(Enum):
    """The least important lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    """How a log line looks."""

    AUTO = "auto"
    """Console on a terminal, else JSON."""
    JSON = "json"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSection:
    """The node itself."""

    id: Annotated[
        int,
        Setting(
            "Number of the node, unique in its cluster. Where there are seeds and none is set: the "
            'number that ends the name of its machine, as in "tidelog-2".',
            Unit.COUNT,
            0,
            NODE_ID_MAX,
        ),
    ] = 0
    data_dir: Annotated[
        str,
        Setting("Directory of logs and metadata; made if absent.", low=1, high=PATH_CHARACTERS_MAX),
    ] = "tidelog-data"
    rack: Annotated[
        str | None, Setting("Where the node stands; replicas are spread over racks.", high=249)
    ] = None
    event_loop: Annotated[EventLoop, Setting("auto takes uvloop where it is installed.")] = (
        EventLoop.AUTO
    )

    def __post_init__(self) -> None:
        """Refuse out-of-range values at the door."""
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaListener:
    """The listener for Kafka clients that reach this node by its own name or address."""

    bind: Annotated[
        str | None,
        Setting("HOST:PORT to listen on; port 0 takes a free one; none switches it off.", high=300),
    ] = "127.0.0.1:9092"
    advertise: Annotated[
        str | None,
        Setting(
            "HOST:PORT that Kafka clients are told; none: where it listens, or, if that is every "
            "address, the name of this machine.",
            high=300,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse what is no address, or none that a client can connect to."""
        check_bounds(self)
        check_address("bind", self.bind)
        check_address("advertise", self.advertise)
        check_told(self.advertise)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalListener:
    """A second listener for Kafka clients, which reach the nodes by other addresses.

    Such as programs on the host of containers, or beyond a network's edge. Who comes in here is
    told of every node the address of its external listener.
    """

    bind: Annotated[
        str | None,
        Setting("HOST:PORT to listen on; port 0 takes a free one; none switches it off.", high=300),
    ] = None
    advertise: Annotated[
        str | None,
        Setting(
            "HOST:PORT that its Kafka clients are told; none: where it listens, if it is one "
            "address.",
            high=300,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse what is no address, or leaves open what clients are to be told."""
        check_bounds(self)
        check_address("bind", self.bind)
        check_address("advertise", self.advertise)
        check_told(self.advertise)
        if self.bind is None and self.advertise is not None:
            raise ValueError(
                f"advertise = {self.advertise!r}, and nobody listens: set bind as well, for "
                'example to "0.0.0.0:19092"'
            )
        if self.bind is None or self.advertise is not None:
            return
        if is_every_address(split_address(self.bind)[0]):
            raise ValueError(
                f"bind = {self.bind!r} is every address of this machine: set advertise to the "
                "HOST:PORT by which these clients reach it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcListener:
    """The listener for gRPC clients.

    Of the file descriptors that the node may open (`ulimit -Hn`) it takes a sixteenth for
    connections, 2,000 at most: 64 of 1,024. Beyond them it hangs up.
    """

    bind: Annotated[
        str | None,
        Setting("HOST:PORT to listen on; port 0 takes a free one; none switches it off.", high=300),
    ] = "127.0.0.1:9095"
    reflection: Annotated[bool, Setting("Answer what services there are: grpcurl needs it.")] = (
        False
    )

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        check_bounds(self)
        check_address("bind", self.bind)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpListener:
    """The listener for health, metrics and the status page."""

    bind: Annotated[
        str | None,
        Setting("HOST:PORT to listen on; port 0 takes a free one; none switches it off.", high=300),
    ] = "127.0.0.1:8080"
    connections_max: Annotated[
        int, Setting("Browsers and probes at once.", Unit.COUNT, 1, 10_000)
    ] = 100
    connections_per_address_max: Annotated[
        int, Setting("Those of one address, so that probes still get in.", Unit.COUNT, 1, 10_000)
    ] = 50

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        check_bounds(self)
        check_address("bind", self.bind)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSection:
    """How much of the machine the node may use."""

    memory_budget_percent: Annotated[
        int,
        Setting("Request and answer buffers, of the memory limit.", Unit.PERCENT, 1, 90),
    ] = MEMORY_BUDGET_PERCENT_DEFAULT.value
    memory_budget_bytes: Annotated[
        int | None,
        Setting("The same as a fixed size; overrides the percentage.", Unit.BYTES, MIB, 1 << 44),
    ] = None
    read_threads: Annotated[
        int, Setting("Threads for reads that would wait for the disk.", Unit.COUNT, 1, 64)
    ] = 4

    def __post_init__(self) -> None:
        """Refuse out-of-range values at the door."""
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicsSection:
    """How topics come into being."""

    auto_create: Annotated[
        bool,
        Setting(
            "Create a topic when a Kafka client names it.",
            kafka_name="auto.create.topics.enable",
        ),
    ] = False
    auto_create_partitions: Annotated[
        int,
        Setting(
            "Partitions of a topic that is created so.",
            Unit.COUNT,
            1,
            PARTITIONS_PER_TOPIC_MAX.value,
            kafka_name="num.partitions",
        ),
    ] = 4

    def __post_init__(self) -> None:
        """Refuse out-of-range values at the door."""
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySection:
    """Who may connect."""

    mode: Annotated[
        SecurityMode,
        Setting("loopback: only this machine; open: anybody, without authentication."),
    ] = SecurityMode.LOOPBACK

    def __post_init__(self) -> None:
        """Refuse out-of-range values at the door."""
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingSection:
    """What the node says about itself, on stderr."""

    level: Annotated[LogLevel, Setting("Least important lines that are written.")] = LogLevel.INFO
    format: Annotated[LogFormat, Setting("auto: console on a terminal, else JSON.")] = (
        LogFormat.AUTO
    )
    repeats_per_minute: Annotated[
        int,
        Setting("Lines of one event in a minute; then their number is told.", Unit.COUNT, 1, 10**6),
    ] = 60

    def __post_init__(self) -> None:
        """Refuse out-of-range values at the door."""
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """The whole tree."""

    node: NodeSection = field(default_factory=NodeSection)
    kafka_listener: KafkaListener = field(default_factory=KafkaListener)
    external_listener: ExternalListener = field(default_factory=ExternalListener)
    grpc_listener: GrpcListener = field(default_factory=GrpcListener)
    http_listener: HttpListener = field(default_factory=HttpListener)
    peer_listener: PeerListener = field(default_factory=PeerListener)
    log: LogSettings = field(default_factory=LogSettings)
    cluster: ClusterSection = field(default_factory=ClusterSection)
    groups: GroupSettings = field(default_factory=GroupSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    limits: LimitsSection = field(default_factory=LimitsSection)
    topics: TopicsSection = field(default_factory=TopicsSection)
    security: SecuritySection = field(default_factory=SecuritySection)
    logging: LoggingSection = field(default_factory=LoggingSection)
    topic_defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Values of topic settings, by Kafka's name, for topics that set none."""

    def listeners(self) -> dict[str, tuple[str, int]]:
        """Return host and port of each listener for clients that is on, by its door's name."""
        binds = {
            "kafka": self.kafka_listener.bind,
            "external": self.external_listener.bind,
            "grpc": self.grpc_listener.bind,
            "http": self.http_listener.bind,
        }
        return {name: split_address(bind) for name, bind in binds.items() if bind is not None}

    def exposed(self) -> list[str]:
        """Return the listeners through which strangers on other machines could be clients.

        As `listeners.NAME.bind`. The one for peers is not among them: it has the cluster's secret.
        """
        return [
            f"listeners.{name}.bind"
            for name, (host, _) in self.listeners().items()
            if not is_loopback(host)
        ]


SECTIONS: Final["Mapping[str, tuple[str, type[DataclassInstance]]]"] = {
    "node": ("node", NodeSection),
    "listeners.kafka": ("kafka_listener", KafkaListener),
    "listeners.external": ("external_listener", ExternalListener),
    "listeners.grpc": ("grpc_listener", GrpcListener),
    "listeners.http": ("http_listener", HttpListener),
    "listeners.peer": ("peer_listener", PeerListener),
    "security": ("security", SecuritySection),
    "topics": ("topics", TopicsSection),
    "limits": ("limits", LimitsSection),
    "log": ("log", LogSettings),
    "cluster": ("cluster", ClusterSection),
    "groups": ("groups", GroupSettings),
    "kafka": ("kafka", KafkaSettings),
    "logging": ("logging", LoggingSection),
}
"""Name in the file, field of `NodeSettings`, and declarations, in the order of the reference."""

TOPIC_DEFAULTS: Final = "topic_defaults"
"""The section whose names are those of topic settings."""

"""Settings by which a node finds the others of its cluster, and they find it.

A node without seeds is alone: it opens no listener for peers and dials nobody.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from api.addresses import check_address, is_every_address, split_address
from cluster.settings import ClusterSettings
from model.settings import Setting, Unit, check_bounds

CLUSTER_ID_CHARACTERS_MAX: Final = 64
SEEDS_MAX: Final = 32
SEEDS_CHARACTERS_MAX: Final = 8_192
SECRET_CHARACTERS_MAX: Final = 1_024
PATH_CHARACTERS_MAX: Final = 4_096
REPLICATION_FACTOR_MAX: Final = 32
REPLICAS_WANTED: Final = 3
"""Of a partition, where there are as many seeds: one may be gone and one restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSection(ClusterSettings):
    """Which cluster this is, how its metadata are kept, and when a node is taken for dead."""

    id: Annotated[
        str,
        Setting(
            "Name of the cluster, the same on every node of it; needed with seeds.",
            high=CLUSTER_ID_CHARACTERS_MAX,
        ),
    ] = ""
    seeds: Annotated[
        str,
        Setting(
            "HOST:PORT,HOST:PORT,... where nodes of the cluster listen for each other, this one "
            "included if it is to form it; the same on every node. Empty: this node is alone.",
            high=SEEDS_CHARACTERS_MAX,
        ),
    ] = ""
    secret: Annotated[
        str,
        Setting(
            "A long random text by which nodes know each other, the same on every node. May be "
            "empty only where all of them are on this machine.",
            high=SECRET_CHARACTERS_MAX,
            secret=True,
        ),
    ] = ""
    secret_file: Annotated[
        str | None,
        Setting("File with the secret, in its place.", high=PATH_CHARACTERS_MAX),
    ] = None
    replication_factor: Annotated[
        int | None,
        Setting(
            "Replicas of each partition of a topic that says nothing; none: 3, or as many as there "
            "are seeds if those are fewer.",
            Unit.COUNT,
            1,
            REPLICATION_FACTOR_MAX,
            kafka_name="default.replication.factor",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse what is no list of addresses, and seeds without the name of their cluster."""
        ClusterSettings.__post_init__(self)
        seeds = self.seed_list
        for seed in seeds:
            check_address("seeds", seed)
            host, port = split_address(seed)
            if port == 0 or is_every_address(host):
                raise ValueError(f"seeds = {seed!r} is nowhere that a node can connect to")
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds = {self.seeds!r} names a node twice")
        if len(seeds) > SEEDS_MAX:
            raise ValueError(f"seeds names {len(seeds)} nodes, at most {SEEDS_MAX}")
        if seeds and not self.id:
            raise ValueError('with seeds the cluster needs a name: set id, for example "orders"')
        if self.secret and self.secret_file is not None:
            raise ValueError("secret and secret_file are both set: leave one of them out")

    @property
    def seed_list(self) -> tuple[str, ...]:
        """The seeds one by one, as they are written; none for a node that is alone."""
        return tuple(seed.strip() for seed in self.seeds.split(",") if seed.strip())

    @property
    def replicas_wanted(self) -> int | None:
        """Replicas for a topic that says nothing; None: a node that is alone needs no number."""
        seeds = len(self.seed_list)
        return self.replication_factor or (min(REPLICAS_WANTED, seeds) if seeds else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerListener:
    """The listener for the other nodes of a cluster; open where there are seeds."""

    bind: Annotated[
        str,
        Setting("HOST:PORT to listen on; port 0 takes a free one.", low=1, high=300),
    ] = "127.0.0.1:9093"
    advertise: Annotated[
        str | None,
        Setting(
            "HOST:PORT that other nodes are told; none: where it listens, or, if that is every "
            "address, the name of this machine.",
            high=300,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse what is no address, or none that a node can connect to."""
        check_bounds(self)
        check_address("bind", self.bind)
        check_address("advertise", self.advertise)
        if self.advertise is not None:
            host, port = split_address(self.advertise)
            if port == 0 or is_every_address(host):
                raise ValueError(
                    f"advertise = {self.advertise!r} is nowhere that a node can connect to"
                )

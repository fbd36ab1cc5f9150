"""Whether a node that asks to be registered is the one that it says: the refusals.

A node is its id and the uuid of its directory. Before each attempt the node writes down, durably,
an epoch above every one that its directory remembers, and sends that (`remembered`). So what a
directory sends only rises, and one that sends no more than was recorded is an older copy of it: a
restored image, or a clone that was taken before. It is refused for good.

Of two processes with one id the second is refused while the first one's session is held. That
session may be a dead process's: the second asks again for one session's time and two heartbeats,
and ends with the refusal's exit code if it is still refused then.
"""

from collections.abc import Set as AbstractSet
from enum import Enum

from cluster.controller.image import NO_INCARNATION, BrokerImage, Endpoint, FeatureLevels
from model.errors import DirectoryExit, ErrorCode, RequestError
from model.ids import NodeId, RegistrationEpoch


class Barrier(Enum):
    """Why a registration is refused; only DUPLICATE_ID may pass by itself."""

    FOREIGN_CLUSTER = "foreign cluster"
    OLD_DIRECTORY = "old directory"
    DUPLICATE_ID = "duplicate id"
    FEATURE_LEVEL = "feature level"


class RegistrationRefused(RequestError):  # noqa: N818 - ends the start of a node
    """The node does not belong here: its shell prints the detail and ends with the exit code."""

    def __init__(self, barrier: Barrier, detail: str, /, **metadata: str) -> None:
        """Say why, naming what to do."""
        super().__init__(ErrorCode.WRONG_CLUSTER, detail, retry_delay_ms=None, **metadata)
        self.barrier = barrier

    @property
    def exit_code(self) -> DirectoryExit:
        """With which the node ends; for DUPLICATE_ID only after it has asked for long enough."""
        newer = self.barrier is Barrier.FEATURE_LEVEL
        return DirectoryExit.NEWER_FORMAT if newer else DirectoryExit.FENCED


def check_cluster(here: str, asked: str | None) -> None:
    """Refuse a node of another cluster; None: it did not say, being the only voter.

    Raises:
        RegistrationRefused: FOREIGN_CLUSTER.
        RequestError: NO_QUORUM, this cluster is about to be formed: ask again.
    """
    if asked is not None and not here:
        detail = f'the cluster "{asked}" is not formed yet'
        raise RequestError(ErrorCode.NO_QUORUM, detail, cluster_id=asked)
    if asked not in {None, here}:
        raise RegistrationRefused(
            Barrier.FOREIGN_CLUSTER,
            f'this is the cluster "{here}", the directory belongs to "{asked}": start the node '
            "with the seeds of its own cluster, or on an empty directory",
            cluster_id=here,
        )


def check_levels(level: int, levels: FeatureLevels) -> None:
    """Refuse a release that cannot work at the cluster's feature level.

    Raises:
        RegistrationRefused: FEATURE_LEVEL.
    """
    if not levels.least <= level <= levels.greatest:
        raise RegistrationRefused(
            Barrier.FEATURE_LEVEL,
            f"the cluster works at feature level {level}, this release at {levels.least} to "
            f"{levels.greatest}: start the release that the other nodes run",
            feature_level=str(level),
        )


def check_directory(
    known: BrokerImage, directory: bytes, remembered: RegistrationEpoch | None
) -> None:
    """Refuse an older copy of a directory. One with another uuid has nothing to remember.

    Raises:
        RegistrationRefused: OLD_DIRECTORY.
    """
    if remembered is None or directory != known.directory:
        return
    if remembered <= known.remembered:
        raise RegistrationRefused(
            Barrier.OLD_DIRECTORY,
            f"the directory of node {known.node} is an older copy of itself: it asks with epoch "
            f"{remembered}, and {known.remembered} was seen; nothing was changed in it: put the "
            "newest directory back, or empty it and let the node copy everything anew",
            node=str(known.node),
            remembered=str(remembered),
            seen=str(known.remembered),
        )


def check_alone(known: BrokerImage, live: AbstractSet[NodeId]) -> None:
    """Refuse a second node of one id while the first one lives.

    Raises:
        RegistrationRefused: DUPLICATE_ID, with the first one's address.
    """
    if known.node in live:
        address = address_of(known.endpoints)
        raise RegistrationRefused(
            Barrier.DUPLICATE_ID,
            f"node {known.node} is running already, at {address} with the directory "
            f"{known.directory.hex()}: give this one another node id, or stop that one",
            node=str(known.node),
            address=address,
            directory=known.directory.hex(),
        )


def is_same_process(known: BrokerImage, incarnation: bytes) -> bool:
    """Tell whether the asker is who is registered, and only has not heard the answer."""
    return incarnation == known.incarnation != NO_INCARNATION


def address_of(endpoints: tuple[Endpoint, ...]) -> str:
    """Return where a node can be found, for people: all of its doors."""
    return ", ".join(f"{one.listener} {_host(one)}:{one.port}" for one in endpoints) or (
        "an address that it did not say"
    )


def _host(endpoint: Endpoint) -> str:
    return f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host

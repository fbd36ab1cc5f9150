"""Brokers: a node makes itself known, each time it starts, and forms the cluster the first time.

A node registers once its logs are recovered and it can lead, so it is up from then on. What its
registration means for the partitions that it holds is in the same records:

- a new directory under a known id: what it held is gone, and leaves ISR and ELR first;
- an unclean stop: it is marked where it is a candidate (`cluster.controller.election`);
- a clean stop: it is what it was before; but what it led with others, it leads in a new epoch.
"""

from dataclasses import dataclass
from typing import Final

from cluster.controller.election import restarted_clean, restarted_unclean, wiped
from cluster.controller.image import (
    FIRST_LEVEL,
    NO_INCARNATION,
    NOTHING_REMEMBERED,
    BrokerImage,
    Endpoint,
    FeatureLevels,
    PartitionImage,
)
from cluster.controller.partition_changes import Alter, follow, stand
from cluster.controller.records import BrokerRegistered, ClusterFormed, MetadataRecord
from cluster.controller.registration import (
    check_alone,
    check_cluster,
    check_directory,
    check_levels,
    is_same_process,
)
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, RegistrationEpoch
from model.result import Result

UUID_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FormCluster(Request[str]):
    """Give the cluster its id; answered with the id that it has, which is an older one if any."""

    cluster_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterBroker(Request[BrokerImage]):
    """A node has started; answered with its registration, whose epoch its directory remembers.

    The same process may ask again, with the same fields, if it has not heard the answer.
    """

    node: NodeId
    directory: bytes
    """The 16 bytes of its log directory's uuid."""
    clean: bool
    """Whether it had been stopped in order before, or is new."""
    endpoints: tuple[Endpoint, ...] = ()
    """Where clients and peers reach it, by listener."""
    rack: str | None = None
    version: str = ""
    cluster_id: str | None = None
    """Of its directory; None: the only voter, which asks itself."""
    remembered: RegistrationEpoch | None = None
    """Above every epoch that its directory knew, and written down there before asking; None: the
    only voter, whose metadata lie in the same directory."""
    incarnation: bytes = NO_INCARNATION
    """16 random bytes, the same for as long as the process lives."""
    levels: FeatureLevels = FIRST_LEVEL


def form_cluster(
    state: MetadataState, request: FormCluster, circumstances: Circumstances
) -> Result[MetadataRecord, str]:
    """Decide: the first id stays.

    Raises:
        RequestError: INVALID_REQUEST, an id that is empty or too long.
    """
    if not 0 < len(request.cluster_id) <= 64:
        detail = f"a cluster id has 1 to 64 characters, not {len(request.cluster_id)}"
        raise RequestError(ErrorCode.INVALID_REQUEST, detail, field="cluster_id")
    if state.cluster_id:
        return Result((), state.cluster_id)
    formed = ClusterFormed(cluster_id=request.cluster_id, formed_at=circumstances.now)
    return Result((formed,), request.cluster_id)


def register_broker(
    state: MetadataState, request: RegisterBroker, circumstances: Circumstances
) -> Result[MetadataRecord, BrokerImage]:
    """Decide.

    Raises:
        RegistrationRefused: another cluster's node, an older copy of its directory, a second node
            of one id, a release that cannot work here.
        RequestError: INVALID_REQUEST; NO_QUORUM, the cluster is not formed yet.
    """
    for what, uuid in (("directory", request.directory), ("incarnation", request.incarnation)):
        if len(uuid) != UUID_BYTES:
            detail = f"{what}: a uuid has {UUID_BYTES} bytes, not {len(uuid)}"
            raise RequestError(ErrorCode.INVALID_REQUEST, detail, field=what)
    check_cluster(state.cluster_id, request.cluster_id)
    check_levels(state.feature_level, request.levels)
    known = state.brokers.get(request.node)
    if known is not None:
        if is_same_process(known, request.incarnation):
            return Result((), known)
        check_directory(known, request.directory, request.remembered)
        check_alone(known, circumstances.live)
    registered = _registered(request, known)
    changes = follow(state, stand(state, image_of(registered)), _alter(registered, known))
    return Result((registered, *changes), image_of(registered))


def image_of(registered: BrokerRegistered) -> BrokerImage:
    """Return the broker that a record describes."""
    return BrokerImage(
        node=registered.node,
        directory=registered.directory,
        registration_epoch=registered.registration_epoch,
        endpoints=registered.endpoints,
        rack=registered.rack,
        version=registered.version,
        remembered=registered.remembered,
        incarnation=registered.incarnation,
        levels=registered.levels,
        standing=registered.standing,
    )


def replay_formed(state: MetadataState, formed: ClusterFormed) -> None:
    """Take the cluster's identity."""
    state.form(formed)


def replay_registered(state: MetadataState, registered: BrokerRegistered) -> None:
    """Take the node's newest registration."""
    state.register(image_of(registered))


def _registered(request: RegisterBroker, known: BrokerImage | None) -> BrokerRegistered:
    """Return the next registration: its epoch is above the last one, and above what is remembered.

    A node may have written an epoch down and asked nobody: then epochs leave some out.
    """
    remembered = request.remembered or NOTHING_REMEMBERED
    next_epoch = known.registration_epoch + 1 if known else 1
    return BrokerRegistered(
        node=request.node,
        directory=request.directory,
        registration_epoch=RegistrationEpoch(max(next_epoch, remembered)),
        clean=request.clean,
        endpoints=request.endpoints,
        rack=request.rack,
        version=request.version,
        remembered=remembered,
        incarnation=request.incarnation,
        levels=request.levels,
    )


def _alter(registered: BrokerRegistered, known: BrokerImage | None) -> Alter:
    """Return what a registration does to each row."""
    node = registered.node

    def alter(row: PartitionImage, k: int) -> PartitionImage:
        if known is not None and known.directory != registered.directory:
            return wiped(row, node, k)
        return restarted_clean(row, node) if registered.clean else restarted_unclean(row, node)

    return alter

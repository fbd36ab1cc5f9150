"""Brokers: a node makes itself known, each time it starts, and forms the cluster the first time."""

from dataclasses import dataclass

from cluster.controller.image import BrokerImage, Endpoint
from cluster.controller.partitions import leadership_renewed
from cluster.controller.records import BrokerRegistered, ClusterFormed, MetadataRecord
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, RegistrationEpoch
from model.result import Result

DIRECTORY_UUID_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FormCluster(Request[str]):
    """Give the cluster its id; answered with the id that it has, which is an older one if any."""

    cluster_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterBroker(Request[BrokerImage]):
    """A node has started; answered with its registration."""

    node: NodeId
    directory: bytes
    """The 16 bytes of its log directory's uuid."""
    clean: bool
    """Whether it had been stopped in order before, or is new."""
    endpoints: tuple[Endpoint, ...] = ()
    rack: str | None = None
    version: str = ""


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
    state: MetadataState, request: RegisterBroker, _: Circumstances
) -> Result[MetadataRecord, BrokerImage]:
    """Decide. After an unclean stop every partition that it leads enters a new leader epoch.

    Raises:
        RequestError: WRONG_CLUSTER, the node is known with another directory; INVALID_REQUEST.
    """
    if len(request.directory) != DIRECTORY_UUID_BYTES:
        detail = f"a directory uuid has 16 bytes, not {len(request.directory)}"
        raise RequestError(ErrorCode.INVALID_REQUEST, detail, field="directory")
    known = state.brokers.get(request.node)
    if known is not None and known.directory != request.directory:
        raise RequestError(
            ErrorCode.WRONG_CLUSTER,
            f"broker {request.node} is known with the directory {known.directory.hex()}, "
            f"this one is {request.directory.hex()}: start it on its own directory",
            node=str(request.node),
            directory=known.directory.hex(),
        )
    registered = BrokerRegistered(
        node=request.node,
        directory=request.directory,
        registration_epoch=RegistrationEpoch(known.registration_epoch + 1 if known else 1),
        clean=request.clean,
        endpoints=request.endpoints,
        rack=request.rack,
        version=request.version,
    )
    renewed = () if request.clean else leadership_renewed(state, request.node)
    return Result((registered, *renewed), image_of(registered))


def image_of(registered: BrokerRegistered) -> BrokerImage:
    """Return the broker that a record describes."""
    return BrokerImage(
        node=registered.node,
        directory=registered.directory,
        registration_epoch=registered.registration_epoch,
        endpoints=registered.endpoints,
        rack=registered.rack,
        version=registered.version,
    )


def replay_formed(state: MetadataState, formed: ClusterFormed) -> None:
    """Take the cluster's identity."""
    state.form(formed)


def replay_registered(state: MetadataState, registered: BrokerRegistered) -> None:
    """Take the node's newest registration."""
    state.register(image_of(registered))

"""Who leads what a client has asked another node for: told with the answer, for the next time.

A node takes a call to the leaders of what it names, unless its client wants to go there itself. The
answer's trailing metadata names them, `tidelog-leader: orders/3=2@n2:9095`; a client that wants no
detour (`tidelog-no-forward`) is told the same address with the refusal.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from google.protobuf.message import Message

from api.broker.cluster import address_of
from cluster.controller.image import MetadataImage
from model.errors import ErrorCode, RequestError
from model.ids import NodeId
from model.limits import LEADER_TRAILERS_MAX
from tidelog.v1 import common_pb2

LEADER: Final = "tidelog-leader"
GRPC_LISTENER: Final = "grpc"
ENDPOINT: Final = "endpoint"
"""In the metadata of a refusal: where the node named as leader is reached."""
_NAMED: Final = "leader"
_ELSEWHERE: Final = frozenset({ErrorCode.NOT_LEADER, ErrorCode.NOT_COORDINATOR})
_REASONS: Final = frozenset(code.name for code in _ELSEWHERE)
_RECORDS: Final = "records"

Trailers: TypeAlias = tuple[tuple[str, str], ...]


class Leaders:
    """The partitions of one call that other nodes have answered for; the first few. Loop only."""

    __slots__ = ("_nodes",)

    def __init__(self) -> None:
        """None was."""
        self._nodes: dict[tuple[str, int], NodeId] = {}

    def note(self, topic: str, number: int, node: NodeId) -> None:
        """Another node was asked for a partition; the newest counts."""
        key = (topic, number)
        if key in self._nodes or len(self._nodes) < LEADER_TRAILERS_MAX.value:
            self._nodes[key] = node

    @property
    def are_known(self) -> bool:
        """Whether there is anything to be told."""
        return bool(self._nodes)

    def trailers(self, image: MetadataImage) -> Trailers:
        """Return the metadata; a node whose address is not known is left out."""
        return tuple(
            (LEADER, f"{topic}/{number}={node}@{endpoint}")
            for (topic, number), node in self._nodes.items()
            if (endpoint := endpoint_of(image, node)) is not None
        )


def endpoint_of(image: MetadataImage, node: NodeId) -> str | None:
    """Return where gRPC clients reach a node; None: it has not said so."""
    broker = image.brokers.get(node)
    for one in () if broker is None else broker.endpoints:
        if one.listener == GRPC_LISTENER:
            return address_of(one)
    return None


def with_endpoint(image: MetadataImage, refusal: RequestError) -> RequestError:
    """Return a refusal that names another node, with that one's address."""
    endpoint = _named(image, refusal.metadata.get(_NAMED, ""))
    if refusal.code not in _ELSEWHERE or endpoint is None:
        return refusal
    told = {**refusal.metadata, ENDPOINT: endpoint}
    delay = refusal.retry_delay_ms
    return RequestError(refusal.code, refusal.detail, retry_delay_ms=delay, **told)


def name_endpoints(image: MetadataImage, answer: Message) -> None:
    """Add the same to the rows of an answer that were refused so."""
    for row in _errors(answer):
        endpoint = _named(image, row.metadata.get(_NAMED, ""))
        if row.reason in _REASONS and endpoint is not None:
            row.metadata[ENDPOINT] = endpoint


def _errors(message: Message) -> Iterator[common_pb2.RecordError]:
    """Yield the refused rows of an answer, however deep; records have none."""
    if isinstance(message, common_pb2.RecordError):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.name != _RECORDS:
            for one in (value,) if isinstance(value, Message) else value:
                yield from _errors(one)


def _named(image: MetadataImage, node: str) -> str | None:
    return endpoint_of(image, NodeId(int(node))) if node.isdecimal() else None

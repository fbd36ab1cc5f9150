"""Changes that people and clients ask for, taken to whoever leads the quorum: bytes out, bytes in.

Format: docs/formats/peer_frames.md, controller. Each is answered with `Proposed`
(`proposed_frames.py`). What clients write stands in these: names and settings of any length come
as far as this node, so what fits no frame is refused here, and is not done.
"""

from collections.abc import Callable, Mapping
from struct import Struct, error
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.configs import TopicKind
from cluster.controller.feature_level import RaiseFeatureLevel
from cluster.controller.fields import string_map
from cluster.controller.group_config import AlterGroupConfig
from cluster.controller.leadership import ElectPreferred, ElectUnclean, TransferLeader
from cluster.controller.partitions import AddPartitions
from cluster.controller.standing import RemoveBroker
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.peer.fields import BodyReader, listed, optional_string, string
from cluster.peer.table import TABLE, FrameType
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, NodeId, TopicId


class ChangeVoters(NamedTuple):
    """Give votes to nodes and take votes away, as `QuorumPort.change_voters`."""

    add: tuple[NodeId, ...]
    remove: tuple[NodeId, ...]


class HandOver(NamedTuple):
    """Let another node lead the quorum, as `QuorumPort.transfer_leadership`."""

    to: NodeId


Proposal: TypeAlias = (
    CreateTopic
    | DeleteTopic
    | AddPartitions
    | AlterTopicConfig
    | AlterGroupConfig
    | ElectPreferred
    | ElectUnclean
    | TransferLeader
    | RemoveBroker
    | RaiseFeatureLevel
    | ChangeVoters
    | HandOver
)

_I32: Final = Struct(">i")
_U16: Final = Struct(">H")
_BYTE: Final = Struct(">B")
_TWO: Final = Struct(">ii")
_TOPIC_ID_BYTES: Final = 16
_KINDS: Final[Mapping[int, TopicKind | None]] = {
    0: None,
    1: TopicKind.LOG,
    2: TopicKind.EVENTSTORE,
    3: TopicKind.TABLE,
}
_KIND_NUMBERS: Final = {kind: number for number, kind in _KINDS.items()}


def body_of(proposal: Proposal) -> tuple[FrameType, bytes]:
    """Return a proposal's type and body.

    Raises:
        RequestError: INVALID_REQUEST, it fits no frame.
    """
    number, write = ENCODE[type(proposal)]
    try:
        body = write(proposal)
    except (error, UnicodeEncodeError) as wrong:
        detail = f"a name, a setting or a number is longer than can be passed on: {wrong}"
        raise RequestError(ErrorCode.INVALID_REQUEST, detail) from wrong
    most = TABLE[number].most
    if len(body) > most:
        detail = f"the request takes {len(body)} bytes, at most {most}: ask for less at once"
        raise RequestError(ErrorCode.INVALID_REQUEST, detail, size=str(len(body)), max=str(most))
    return number, body


def read_map(reader: BodyReader) -> Mapping[str, str]:
    """Return a map of strings; its keys rise, none stands there twice."""
    pairs = reader.listed(lambda: (reader.string(), reader.string()), least_bytes=4)
    keys = [key for key, _ in pairs]
    reader.check(keys == sorted(set(keys)), "keys of a map out of order")
    return MappingProxyType(dict(pairs))


def _flag(value: bool) -> bytes:  # noqa: FBT001 - a field
    return b"\1" if value else b"\0"


def _optional_number(value: int | None) -> bytes:
    return b"\0" if value is None else b"\1" + _I32.pack(value)


def _read_number(reader: BodyReader) -> int:
    value: int
    (value,) = reader.unpack(_I32)
    return value


def _read_optional_number(reader: BodyReader) -> int | None:
    return _read_number(reader) if reader.flag() else None


def _nodes(nodes: tuple[NodeId, ...]) -> bytes:
    return _U16.pack(len(nodes)) + b"".join(map(_I32.pack, nodes))


def _read_nodes(reader: BodyReader) -> tuple[NodeId, ...]:
    (count,) = reader.unpack(_U16)
    return reader.rows(count, lambda: NodeId(_read_number(reader)), least_bytes=_I32.size)


def _create(asked: CreateTopic) -> bytes:
    assigned = asked.assignments
    return b"".join(
        (
            string(asked.name),
            _optional_number(asked.partitions),
            _optional_number(asked.replication_factor),
            string_map(asked.config),
            _BYTE.pack(_KIND_NUMBERS[asked.kind]),
            b"\0" if assigned is None else b"\1" + listed([_nodes(one) for one in assigned]),
            _flag(asked.internal),
            _flag(asked.validate_only),
        )
    )


def _read_create(reader: BodyReader) -> CreateTopic:
    name, partitions = reader.string(), _read_optional_number(reader)
    factor, config = _read_optional_number(reader), read_map(reader)
    (kind,) = reader.unpack(_BYTE)
    reader.check(kind in _KINDS, f"a kind of topic {kind}", back=1)
    assigned = None
    if reader.flag():
        assigned = reader.listed(lambda: _read_nodes(reader), least_bytes=_U16.size)
    return CreateTopic(
        name=name,
        partitions=partitions,
        replication_factor=factor,
        config=config,
        kind=_KINDS[kind],
        assignments=assigned,
        internal=reader.flag(),
        validate_only=reader.flag(),
    )


def _delete(asked: DeleteTopic) -> bytes:
    topic_id = b"\0" if asked.topic_id is None else b"\1" + asked.topic_id
    return optional_string(asked.name) + topic_id + _flag(asked.validate_only)


def _read_delete(reader: BodyReader) -> DeleteTopic:
    name = reader.optional_string()
    topic_id = TopicId(bytes(reader.view(_TOPIC_ID_BYTES))) if reader.flag() else None
    return DeleteTopic(name=name, topic_id=topic_id, validate_only=reader.flag())


def _add(asked: AddPartitions) -> bytes:
    return string(asked.name) + _I32.pack(asked.partitions) + _flag(asked.validate_only)


def _read_add(reader: BodyReader) -> AddPartitions:
    name, count = reader.string(), _read_number(reader)
    return AddPartitions(name=name, partitions=count, validate_only=reader.flag())


def _alter(name: str, asked: AlterTopicConfig | AlterGroupConfig) -> bytes:
    return b"".join(
        (
            string(name),
            string_map(asked.set),
            listed([string(one) for one in asked.unset]),
            optional_string(asked.etag),
            _flag(asked.validate_only),
        )
    )


def _read_alter(reader: BodyReader) -> AlterTopicConfig:
    return AlterTopicConfig(
        name=reader.string(),
        set=read_map(reader),
        unset=reader.listed(reader.string, least_bytes=2),
        etag=reader.optional_string(),
        validate_only=reader.flag(),
    )


def _read_alter_group(reader: BodyReader) -> AlterGroupConfig:
    asked = _read_alter(reader)
    return AlterGroupConfig(
        group=GroupId(asked.name),
        set=asked.set,
        unset=asked.unset,
        etag=asked.etag,
        validate_only=asked.validate_only,
    )


def _partition(topic: str, number: int, node: NodeId) -> bytes:
    return string(topic) + _TWO.pack(number, node)


def _read_unclean(reader: BodyReader) -> ElectUnclean:
    topic, (number, node) = reader.string(), reader.unpack(_TWO)
    only = reader.flag()
    return ElectUnclean(topic=topic, number=number, replica=NodeId(node), validate_only=only)


def _read_transfer(reader: BodyReader) -> TransferLeader:
    topic, (number, node) = reader.string(), reader.unpack(_TWO)
    only = reader.flag()
    return TransferLeader(topic=topic, number=number, to=NodeId(node), validate_only=only)


def _read_raise(reader: BodyReader) -> RaiseFeatureLevel:
    level = _read_number(reader)
    return RaiseFeatureLevel(level=level, validate_only=reader.flag())


# A function takes exactly the type that it stands beside.
ENCODE: Final[dict[type[Any], tuple[FrameType, Callable[[Any], bytes]]]] = {
    CreateTopic: (FrameType.CREATE_TOPIC, _create),
    DeleteTopic: (FrameType.DELETE_TOPIC, _delete),
    AddPartitions: (FrameType.ADD_PARTITIONS, _add),
    AlterTopicConfig: (FrameType.ALTER_TOPIC_CONFIG, lambda asked: _alter(asked.name, asked)),
    AlterGroupConfig: (FrameType.ALTER_GROUP_CONFIG, lambda asked: _alter(asked.group, asked)),
    ElectPreferred: (FrameType.ELECT_PREFERRED, lambda _: b""),
    ElectUnclean: (
        FrameType.ELECT_UNCLEAN,
        lambda asked: (
            _partition(asked.topic, asked.number, asked.replica) + _flag(asked.validate_only)
        ),
    ),
    TransferLeader: (
        FrameType.TRANSFER_LEADER,
        lambda asked: _partition(asked.topic, asked.number, asked.to) + _flag(asked.validate_only),
    ),
    RemoveBroker: (FrameType.REMOVE_BROKER, lambda asked: _I32.pack(asked.node)),
    RaiseFeatureLevel: (
        FrameType.RAISE_FEATURE_LEVEL,
        lambda asked: _I32.pack(asked.level) + _flag(asked.validate_only),
    ),
    ChangeVoters: (
        FrameType.CHANGE_VOTERS,
        lambda asked: _nodes(asked.add) + _nodes(asked.remove),
    ),
    HandOver: (FrameType.HAND_OVER, lambda asked: _I32.pack(asked.to)),
}
DECODE: Final[dict[FrameType, Callable[[BodyReader], Proposal]]] = {
    FrameType.CREATE_TOPIC: _read_create,
    FrameType.DELETE_TOPIC: _read_delete,
    FrameType.ADD_PARTITIONS: _read_add,
    FrameType.ALTER_TOPIC_CONFIG: _read_alter,
    FrameType.ALTER_GROUP_CONFIG: _read_alter_group,
    FrameType.ELECT_PREFERRED: lambda _: ElectPreferred(),
    FrameType.ELECT_UNCLEAN: _read_unclean,
    FrameType.TRANSFER_LEADER: _read_transfer,
    FrameType.REMOVE_BROKER: lambda reader: RemoveBroker(node=NodeId(_read_number(reader))),
    FrameType.RAISE_FEATURE_LEVEL: _read_raise,
    FrameType.CHANGE_VOTERS: lambda reader: ChangeVoters(_read_nodes(reader), _read_nodes(reader)),
    FrameType.HAND_OVER: lambda reader: HandOver(NodeId(_read_number(reader))),
}

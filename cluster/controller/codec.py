"""Metadata records: bytes out, bytes in.

Format: docs/formats/metadata_records.md. Each record carries its type and the version of that
type; a type or version that this program does not know was written by a newer one, and is refused
rather than skipped: metadata that is not understood is never taken for absent (P46).
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from cluster.controller.configs import TopicKind
from cluster.controller.fields import (
    FieldReader,
    endpoints,
    nodes,
    optional_string,
    partitions,
    string,
    string_map,
)
from cluster.controller.image import FeatureLevels, Standing
from cluster.controller.records import (
    BrokerRegistered,
    BrokerRemoved,
    BrokerStandingChanged,
    ClusterFormed,
    FeatureLevelRaised,
    GroupConfigured,
    MetadataRecord,
    PartitionsAdded,
    PartitionsChanged,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
    TopicFilesRemoved,
    VoteWithheld,
)
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import GroupId, NodeId, ProducerId, RegistrationEpoch, TopicId, TopicName, WallMs

ID_BYTES: Final = 16
_ALL: Final = -1
"""Instead of a node: all of them."""
_HEAD: Final = struct.Struct(">IBB")  # bytes of the whole record, type, version
_INT32: Final = struct.Struct(">i")
_MS: Final = struct.Struct(">q")
_BROKER: Final = struct.Struct(">i16sqB")
_BROKER_MORE: Final = struct.Struct(">q16sHHB")  # remembered, incarnation, levels, standing
_STANDING: Final = struct.Struct(">iqB")
_VOTE: Final = struct.Struct(">i16s?")  # node, directory, withheld
_LEVEL: Final = struct.Struct(">H")
_LEVELS: Final = struct.Struct(">HH")
_TOPIC: Final = struct.Struct(">BqI")  # kind, created, config version
_VERSION: Final = struct.Struct(">I")
_BLOCK: Final = struct.Struct(">iqq")
_KINDS: Final = {1: TopicKind.LOG, 2: TopicKind.EVENTSTORE, 3: TopicKind.TABLE}
_KIND_NUMBERS: Final = {kind: number for number, kind in _KINDS.items()}


def encode(records: Iterable[MetadataRecord]) -> bytes:
    """Return the records' bytes, one after the other."""
    return b"".join(_encode(record) for record in records)


def decode(payload: bytes) -> Iterator[MetadataRecord]:
    """Yield the records of a log entry or snapshot.

    Raises:
        MalformedError: not what was written.
        DirectoryRefused: exit 13, a type or version that only a newer program writes.
    """
    at = 0
    while at < len(payload):
        if len(payload) - at < _HEAD.size:
            raise MalformedError("metadata record", at, "cut short")
        size, number, version = _HEAD.unpack_from(payload, at)
        if not _HEAD.size <= size <= len(payload) - at:
            raise MalformedError("metadata record", at, f"length {size}")
        if (number, version) not in _DECODE:
            raise DirectoryRefused(
                DirectoryExit.NEWER_FORMAT,
                f"a metadata record of type {number} version {version} was written by a newer "
                "release; start that one",
            )
        reader = FieldReader(payload, at + _HEAD.size, at + size, version=version)
        yield _DECODE[number, version](reader)
        reader.finish()
        at += size


def _encode(record: MetadataRecord) -> bytes:
    number, version, body_of = _ENCODE[type(record)]
    body = body_of(record)
    return _HEAD.pack(_HEAD.size + len(body), number, version) + body


def _formed(record: ClusterFormed) -> bytes:
    return string(record.cluster_id) + _MS.pack(record.formed_at)


def _registered(record: BrokerRegistered) -> bytes:
    fixed = _BROKER.pack(record.node, record.directory, record.registration_epoch, record.clean)
    rest = (endpoints(record.endpoints), optional_string(record.rack), string(record.version))
    more = (record.remembered, record.incarnation, *record.levels, record.standing)
    return b"".join((fixed, *rest, _BROKER_MORE.pack(*more)))


def _standing_changed(record: BrokerStandingChanged) -> bytes:
    return _STANDING.pack(record.node, record.registration_epoch, record.standing)


def _removed(record: BrokerRemoved) -> bytes:
    return _INT32.pack(record.node)


def _raised(record: FeatureLevelRaised) -> bytes:
    return _LEVEL.pack(record.level)


def _withheld(record: VoteWithheld) -> bytes:
    return _VOTE.pack(record.node, record.directory, record.withheld)


def _created(record: TopicCreated) -> bytes:
    return b"".join(
        (
            record.topic_id,
            string(record.name),
            _TOPIC.pack(_KIND_NUMBERS[record.kind], record.created_at, record.config_version),
            b"\1" if record.internal else b"\0",
            string_map(record.config),
            partitions(record.partitions),
        )
    )


def _placed(record: PartitionsAdded | PartitionsChanged) -> bytes:
    return record.topic_id + partitions(record.partitions)


def _configured(record: TopicConfigured) -> bytes:
    return record.topic_id + _VERSION.pack(record.config_version) + string_map(record.config)


def _group_configured(record: GroupConfigured) -> bytes:
    return string(record.group) + string_map(record.config)


def _deleted(record: TopicDeleted) -> bytes:
    return record.topic_id + nodes(record.nodes)


def _files_removed(record: TopicFilesRemoved) -> bytes:
    return record.topic_id + _INT32.pack(_ALL if record.node is None else record.node)


def _allocated(record: ProducerIdsAllocated) -> bytes:
    return _BLOCK.pack(record.node, record.first, record.count)


def _read_formed(reader: FieldReader) -> ClusterFormed:
    return ClusterFormed(cluster_id=reader.string(), formed_at=WallMs(reader.unpack(_MS)[0]))


def _read_registered(reader: FieldReader) -> BrokerRegistered:
    known = BrokerRegistered(
        node=NodeId(reader.unpack(_INT32)[0]),
        directory=reader.fixed(ID_BYTES),
        registration_epoch=RegistrationEpoch(reader.unpack(_MS)[0]),
        clean=reader.flag(),
        endpoints=reader.endpoints(),
        rack=reader.optional_string(),
        version=reader.string(),
    )
    if reader.version == 1:
        return known
    return replace(
        known,
        remembered=RegistrationEpoch(reader.unpack(_MS)[0]),
        incarnation=reader.fixed(ID_BYTES),
        levels=FeatureLevels(*reader.unpack(_LEVELS)),
        standing=_standing(reader.fixed(1)[0]),
    )


def _standing(number: int) -> Standing:
    if number not in set(Standing):
        raise MalformedError("metadata record", 0, f"standing {number}")
    return Standing(number)


def _read_standing_changed(reader: FieldReader) -> BrokerStandingChanged:
    node, epoch, standing = reader.unpack(_STANDING)
    return BrokerStandingChanged(
        node=NodeId(node),
        registration_epoch=RegistrationEpoch(epoch),
        standing=_standing(standing),
    )


def _read_removed(reader: FieldReader) -> BrokerRemoved:
    return BrokerRemoved(node=NodeId(reader.unpack(_INT32)[0]))


def _read_raised(reader: FieldReader) -> FeatureLevelRaised:
    return FeatureLevelRaised(level=reader.unpack(_LEVEL)[0])


def _read_withheld(reader: FieldReader) -> VoteWithheld:
    return VoteWithheld(
        node=NodeId(reader.unpack(_INT32)[0]),
        directory=reader.fixed(ID_BYTES),
        withheld=reader.flag(),
    )


def _read_created(reader: FieldReader) -> TopicCreated:
    topic_id, name = TopicId(reader.fixed(ID_BYTES)), TopicName(reader.string())
    kind, created_at, config_version = reader.unpack(_TOPIC)
    if kind not in _KINDS:
        raise MalformedError("metadata record", 0, f"topic kind {kind}")
    created = TopicCreated(
        topic_id=topic_id,
        name=name,
        kind=_KINDS[kind],
        internal=reader.flag(),
        created_at=WallMs(created_at),
        config_version=config_version,
        config=reader.string_map(),
        partitions=reader.partitions(),
    )
    if not created.partitions:
        raise MalformedError("metadata record", 0, f'topic "{name}" without a partition')
    return created


def _read_added(reader: FieldReader) -> PartitionsAdded:
    return PartitionsAdded(topic_id=TopicId(reader.fixed(ID_BYTES)), partitions=reader.partitions())


def _read_changed(reader: FieldReader) -> PartitionsChanged:
    return PartitionsChanged(
        topic_id=TopicId(reader.fixed(ID_BYTES)), partitions=reader.partitions()
    )


def _read_configured(reader: FieldReader) -> TopicConfigured:
    return TopicConfigured(
        topic_id=TopicId(reader.fixed(ID_BYTES)),
        config_version=reader.unpack(_VERSION)[0],
        config=reader.string_map(),
    )


def _read_group_configured(reader: FieldReader) -> GroupConfigured:
    return GroupConfigured(group=GroupId(reader.string()), config=reader.string_map())


def _read_deleted(reader: FieldReader) -> TopicDeleted:
    topic_id = TopicId(reader.fixed(ID_BYTES))
    return TopicDeleted(topic_id=topic_id, nodes=() if reader.version == 1 else reader.nodes())


def _read_files_removed(reader: FieldReader) -> TopicFilesRemoved:
    topic_id = TopicId(reader.fixed(ID_BYTES))
    (node,) = (_ALL,) if reader.version == 1 else reader.unpack(_INT32)
    if node < _ALL:
        raise MalformedError("metadata record", 0, f"node {node}")
    return TopicFilesRemoved(topic_id=topic_id, node=None if node == _ALL else NodeId(node))


def _read_allocated(reader: FieldReader) -> ProducerIdsAllocated:
    node, first, count = reader.unpack(_BLOCK)
    if first < 0 or count <= 0:
        raise MalformedError("metadata record", 0, f"{count} producer ids from {first}")
    return ProducerIdsAllocated(node=NodeId(node), first=ProducerId(first), count=count)


# A function takes exactly the record type that it stands beside.
_ENCODE: Final[dict[type, tuple[int, int, Callable[[Any], bytes]]]] = {
    ClusterFormed: (1, 1, _formed),
    BrokerRegistered: (2, 2, _registered),
    TopicCreated: (3, 2, _created),
    PartitionsAdded: (4, 2, _placed),
    PartitionsChanged: (5, 2, _placed),
    TopicConfigured: (6, 1, _configured),
    TopicDeleted: (7, 2, _deleted),
    TopicFilesRemoved: (8, 2, _files_removed),
    ProducerIdsAllocated: (9, 1, _allocated),
    GroupConfigured: (10, 1, _group_configured),
    BrokerStandingChanged: (11, 1, _standing_changed),
    BrokerRemoved: (12, 1, _removed),
    FeatureLevelRaised: (13, 1, _raised),
    VoteWithheld: (14, 1, _withheld),
}
"""Type, the version that this release writes, body."""
_DECODE: Final[dict[tuple[int, int], Callable[[FieldReader], MetadataRecord]]] = {
    (1, 1): _read_formed,
    (2, 1): _read_registered,
    (2, 2): _read_registered,
    (3, 1): _read_created,
    (3, 2): _read_created,
    (4, 1): _read_added,
    (4, 2): _read_added,
    (5, 1): _read_changed,
    (5, 2): _read_changed,
    (6, 1): _read_configured,
    (7, 1): _read_deleted,
    (7, 2): _read_deleted,
    (8, 1): _read_files_removed,
    (8, 2): _read_files_removed,
    (9, 1): _read_allocated,
    (10, 1): _read_group_configured,
    (11, 1): _read_standing_changed,
    (12, 1): _read_removed,
    (13, 1): _read_raised,
    (14, 1): _read_withheld,
}
"""By type and version."""

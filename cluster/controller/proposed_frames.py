"""What a proposed change came to, on the peer wire: the entry that shows it, and the answer.

Format: docs/formats/peer_frames.md, controller. A topic stands there as its record does, and a row
as in metadata records: there is one layout of each. Settings in force depend on a node's own
defaults, so whoever asked makes the topic's image of the record.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from cluster.controller.codec import decode as decode_records
from cluster.controller.codec import encode as encode_records
from cluster.controller.fields import FieldReader, partitions, string_map
from cluster.controller.image import PartitionImage, TopicImage
from cluster.controller.proposal_frames import read_map
from cluster.controller.records import TopicCreated
from cluster.peer.fields import BodyReader
from model.errors import DirectoryRefused, MalformedError
from model.ids import Index

Outcome: TypeAlias = TopicCreated | PartitionImage | Mapping[str, str] | int | None
"""What is asked for becomes, as the wire has it: of a topic its record."""

ROW_VERSION: Final = 2
"""Of partition rows in metadata records."""
_HEAD: Final = Struct(">QB")
_NUMBER: Final = Struct(">q")
_NOTHING, _TOPIC, _SETTINGS, _ROW, _COUNT = range(5)


class Proposed(NamedTuple):
    """A change is decided and committed."""

    applied: Index
    """Every image from this entry on shows it."""
    outcome: Outcome


def outcome_of(answer: object) -> Outcome:
    """Return a machine's answer as the wire has it."""
    if isinstance(answer, TopicImage):
        return TopicCreated(
            topic_id=answer.topic_id,
            name=answer.name,
            kind=answer.kind,
            internal=answer.internal,
            created_at=answer.created_at,
            config_version=answer.config_version,
            config=answer.config,
            partitions=answer.partitions,
        )
    assert answer is None or isinstance(answer, PartitionImage | Mapping | int), "PROPOSED_IS_TOLD"
    return answer


def proposed_bytes(told: Proposed) -> bytes:
    """Return the body."""
    kind, rest = _outcome_bytes(told.outcome)
    return _HEAD.pack(told.applied, kind) + rest


def read_proposed(reader: BodyReader) -> Proposed:
    """Return what a body says."""
    applied, kind = reader.unpack(_HEAD)
    reader.check(applied < 1 << 63, f"an index of {applied}", back=_HEAD.size)
    reader.check(kind in _READ, f"a kind of answer {kind}", back=1)
    return Proposed(Index(applied), _READ[kind](reader))


def read_row(reader: BodyReader, size: int) -> PartitionImage:
    """Return one row; what is wrong in it is told as where it lies in this frame."""
    body = bytes(reader.view(size))
    fields = FieldReader(body, 0, size, version=ROW_VERSION)
    try:
        rows = fields.partitions()
        fields.finish()
    except MalformedError as wrong:
        raise reader.wrong(f"a row: {wrong.why}", back=size - wrong.at) from wrong
    reader.check(len(rows) == 1, f"{len(rows)} rows in the place of one", back=size)
    return rows[0]


def _outcome_bytes(outcome: Outcome) -> tuple[int, bytes]:
    match outcome:
        case None:
            return _NOTHING, b""
        case TopicCreated():
            return _TOPIC, encode_records([outcome])
        case PartitionImage():
            return _ROW, partitions((outcome,))
        case int():
            return _COUNT, _NUMBER.pack(outcome)
        case _:
            return _SETTINGS, string_map(outcome)


def _read_topic(reader: BodyReader) -> TopicCreated:
    size = reader.left
    try:
        records = list(decode_records(bytes(reader.rest())))
    except MalformedError as wrong:
        raise reader.wrong(f"a topic: {wrong.why}", back=size - wrong.at) from wrong
    except DirectoryRefused as newer:
        raise reader.wrong(newer.detail, back=size) from newer
    if len(records) != 1 or not isinstance(records[0], TopicCreated):
        raise reader.wrong("records that are not one topic", back=size)
    return records[0]


def _read_count(reader: BodyReader) -> int:
    count: int
    (count,) = reader.unpack(_NUMBER)
    reader.check(count >= 0, f"{count} is below 0", back=_NUMBER.size)
    return count


_READ: Final[dict[int, Callable[[BodyReader], Outcome]]] = {
    _NOTHING: lambda _: None,
    _TOPIC: _read_topic,
    _SETTINGS: read_map,
    _ROW: lambda reader: read_row(reader, reader.left),
    _COUNT: _read_count,
}

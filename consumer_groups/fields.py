"""Fields of group records: the primitives that docs/formats/group_records.md names.

Integers are big-endian. A string is u16 length and UTF-8, an optional one begins with a byte 0 or
1, a list with its u32 count. Partitions are told by topic: 16 bytes id, then a list of numbers.
"""

import struct
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Final, TypeVar

from consumer_groups.records import GroupEpoch, Owned
from model.errors import MalformedError
from model.ids import PartitionId, TopicId

ItemT = TypeVar("ItemT")

ID_BYTES: Final = 16
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_NUMBER: Final = struct.Struct(">i")
_HOLD: Final = struct.Struct(">ii")  # number, epoch
_TOPIC_BYTES_MIN: Final = ID_BYTES + _U32.size + _NUMBER.size


def string(text: str) -> bytes:
    """Return a string's bytes."""
    encoded = text.encode()
    return _U16.pack(len(encoded)) + encoded


def optional_string(text: str | None) -> bytes:
    """Return an optional string's bytes."""
    return b"\0" if text is None else b"\1" + string(text)


def strings(texts: tuple[str, ...]) -> bytes:
    """Return a list of strings."""
    return _U32.pack(len(texts)) + b"".join(map(string, texts))


def partitions(rows: tuple[PartitionId, ...]) -> bytes:
    """Return partitions, which rise."""
    return _by_topic([(row.topic, _NUMBER.pack(row.number)) for row in rows])


def holds(rows: tuple[Owned, ...]) -> bytes:
    """Return partitions, which rise, each with the epoch since which it is held."""
    return _by_topic(
        [(row.partition.topic, _HOLD.pack(row.partition.number, row.since_epoch)) for row in rows]
    )


def _by_topic(rows: Iterable[tuple[TopicId, bytes]]) -> bytes:
    """Return a list of topics, each with a list of its rows."""
    topics = [
        (topic, [packed for _, packed in group])
        for topic, group in groupby(rows, key=lambda row: row[0])
    ]
    encoded = [topic + _U32.pack(len(packed)) + b"".join(packed) for topic, packed in topics]
    return _U32.pack(len(topics)) + b"".join(encoded)


class FieldReader:
    """Reads one key or value from front to back. Every method raises MalformedError."""

    __slots__ = ("_at", "_body", "_what")

    def __init__(self, what: str, body: bytes) -> None:
        """Read these bytes, called `what` in errors."""
        self._what = what
        self._body = body
        self._at = 0

    def unpack(self, fields: struct.Struct) -> tuple[int, ...]:
        """Return fixed-width integers."""
        at = self._at
        try:
            values: tuple[int, ...] = fields.unpack_from(self._body, at)
        except struct.error as short:
            raise MalformedError(self._what, at, f"{fields.size} bytes needed") from short
        self._at = at + fields.size
        return values

    def fixed(self, size: int) -> bytes:
        """Return that many bytes."""
        at = self._at
        taken = self._body[at : at + size]
        if len(taken) != size:
            raise MalformedError(self._what, at, f"{size} bytes needed")
        self._at = at + size
        return taken

    def string(self) -> str:
        """Return a string."""
        (size,) = self.unpack(_U16)
        at = self._at
        try:
            return self.fixed(size).decode()
        except UnicodeDecodeError as wrong:
            raise MalformedError(self._what, at, "not UTF-8") from wrong

    def optional_string(self) -> str | None:
        """Return an optional string."""
        at = self._at
        there = self.fixed(1)[0]
        if there > 1:
            raise MalformedError(self._what, at, f"{there} is neither 0 nor 1")
        return self.string() if there else None

    def strings(self) -> tuple[str, ...]:
        """Return a list of strings; they rise, none stands there twice."""
        at = self._at
        texts = self._list(self.string, least_bytes=_U16.size)
        if list(texts) != sorted(set(texts)):
            raise MalformedError(self._what, at, "strings out of order")
        return texts

    def partitions(self) -> tuple[PartitionId, ...]:
        """Return partitions."""
        return self._rising(self._by_topic(self._partition, least_bytes=_NUMBER.size))

    def holds(self) -> tuple[Owned, ...]:
        """Return partitions, each with the epoch since which it is held."""
        rows = self._by_topic(self._hold, least_bytes=_HOLD.size)
        self._rising(tuple(row.partition for row in rows))
        return rows

    def finish(self) -> None:
        """Refuse bytes that no field took."""
        if self._at != len(self._body):
            more = len(self._body) - self._at
            raise MalformedError(self._what, self._at, f"{more} bytes more")

    def refuse(self, why: str) -> MalformedError:
        """Return the error of a value that cannot be."""
        return MalformedError(self._what, self._at, why)

    def _partition(self, topic: TopicId) -> PartitionId:
        (number,) = self.unpack(_NUMBER)
        return PartitionId(topic, number)

    def _hold(self, topic: TopicId) -> Owned:
        number, since = self.unpack(_HOLD)
        if since < 0:
            raise self.refuse("held since an epoch below zero")
        return Owned(PartitionId(topic, number), GroupEpoch(since))

    def _by_topic(self, item: Callable[[TopicId], ItemT], *, least_bytes: int) -> tuple[ItemT, ...]:
        """Return what stands under the topics, which rise and have something each."""

        def one_topic() -> tuple[TopicId, tuple[ItemT, ...]]:
            topic = TopicId(self.fixed(ID_BYTES))
            return topic, self._list(lambda: item(topic), least_bytes=least_bytes)

        at = self._at
        topics = self._list(one_topic, least_bytes=_TOPIC_BYTES_MIN)
        ids = [topic for topic, _ in topics]
        if ids != sorted(set(ids)) or not all(rows for _, rows in topics):
            raise MalformedError(self._what, at, "topics out of order, or one without partitions")
        return tuple(row for _, rows in topics for row in rows)

    def _rising(self, rows: tuple[PartitionId, ...]) -> tuple[PartitionId, ...]:
        if list(rows) != sorted(set(rows)) or any(number < 0 for _, number in rows):
            raise self.refuse("partitions out of order, or one below zero")
        return rows

    def _list(self, item: Callable[[], ItemT], *, least_bytes: int) -> tuple[ItemT, ...]:
        (count,) = self.unpack(_U32)
        if count * least_bytes > len(self._body) - self._at:
            raise MalformedError(self._what, self._at, f"a list of {count}")
        return tuple(item() for _ in range(count))

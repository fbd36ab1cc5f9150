"""The records inside a batch: to bytes, and back by a cursor that can stop between any two.

Format: docs/formats/record_batch.md. The loops read varints of one and two bytes in place: a call
for each field would cost more than all else that is done for a record. Records are read twice over
if need be: a quick loop takes what nearly all look like, and whatever it cannot vouch for goes
through a careful one, which has the last word and words the errors.

Invariants:
    RECORD_HEADERS_BOUNDED    nobody makes a record that this module would refuse to read.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Final, TypeAlias, cast

from logstore.varint import VARLONGS, decode_varint, decode_varlong, read_unsigned
from model.errors import MalformedError
from model.ids import Offset
from model.limits import HEADERS_PER_RECORD_MAX
from model.record import BatchHeader, Header, NewRecord, Record

_HEADERS_MAX: Final = HEADERS_PER_RECORD_MAX.value
_HEADERS_AT_ONCE: Final = 1_000
"""A slice ends behind the record that brings it to so many, however few records that are."""
_RECORD_BYTES_MIN: Final = 7  # a byte each: length, attributes, two deltas, key, value, headers
_INT64_MIN: Final = -(1 << 63)
_INT64_MAX: Final = (1 << 63) - 1
_ODD_OR_LONG: Final = ~0x3FFE
"""Bits that a length has in zigzag if it is negative or takes more than two bytes."""
_NULL: Final = VARLONGS[-1]
_NO_HEADERS: Final = VARLONGS[0]

_Row: TypeAlias = tuple[int, int, bytes | None, bytes | None, tuple[Header, ...]]


def encode_records(
    records: Sequence[NewRecord], base_timestamp: int, *, first_delta: int = 0
) -> tuple[list[bytes], int]:
    """Return the records as parts to be joined, and their greatest timestamp.

    `first_delta`: how many records of the same batch come before them. No record has more headers
    than `HEADERS_PER_RECORD_MAX`: whoever takes them from a client refuses it.

    Raises:
        OverflowError: a timestamp has more than 64 bits, or its distance from the base has.
    """
    varlong = VARLONGS
    join = b"".join
    parts: list[bytes] = []
    push = parts.append
    timed = b""
    previous = None
    least = greatest = records[0][0]
    for delta, (timestamp, key, value, headers) in enumerate(records, first_delta):
        if timestamp != previous:  # neighbours often share theirs
            previous = timestamp
            timed = b"\0" + varlong[timestamp - base_timestamp]  # attributes: none exist
            if timestamp > greatest:
                greatest = timestamp
            elif timestamp < least:
                least = timestamp
        keyed = _NULL if key is None else varlong[len(key)] + key
        tail = _encode_headers(headers) if headers else _NO_HEADERS
        if value is None:
            record = join((timed, varlong[delta], keyed, _NULL, tail))
        else:
            record = join((timed, varlong[delta], keyed, varlong[len(value)], value, tail))
        push(varlong[len(record)])
        push(record)
    if least < _INT64_MIN or greatest > _INT64_MAX:
        raise OverflowError(f"timestamps {least} to {greatest} do not fit into 64 bits")
    return parts, greatest


def _encode_headers(headers: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    assert len(headers) <= _HEADERS_MAX, "RECORD_HEADERS_BOUNDED"
    parts = [VARLONGS[len(headers)]]
    for key, value in headers:
        parts += (VARLONGS[len(key)], key)
        parts += (_NULL,) if value is None else (VARLONGS[len(value)], value)
    return b"".join(parts)


class RecordCursor:
    """How far the records of one batch were read."""

    __slots__ = (
        "_at", "_base_offset", "_base_timestamp", "_data", "_delta", "_delta_max", "_stamp", "left",
    )  # fmt: skip

    def __init__(self, header: BatchHeader, data: bytes) -> None:
        """Begin before the first record of the expanded bytes.

        Raises:
            MalformedError: the header's count cannot be true.
        """
        count = header.record_count
        self._delta_max = header.last_offset_delta
        if not 0 <= count <= self._delta_max + 1:
            raise MalformedError(
                "record batch", 0, f"{count} records on {self._delta_max + 1} offsets"
            )
        if count * _RECORD_BYTES_MIN > len(data):
            raise MalformedError("record batch", 0, f"{count} records in {len(data)} bytes")
        self.left = count
        """Records that were not read yet."""
        self._data = data
        self._at = 0
        self._delta = -1
        self._base_offset = header.base_offset
        self._base_timestamp = header.base_timestamp
        self._stamp = header.event_time_max if header.is_log_append_time else None

    @classmethod
    def within(cls, data: bytes, deltas: range, *, base: tuple[Offset, int]) -> "RecordCursor":
        """Begin in the middle of a batch whose records have their own times and no gaps.

        `data`: the bytes of the records with these offset deltas, and no others. `base`: offset
        and timestamp from which the batch counts.
        """
        cursor = cls.__new__(cls)
        cursor.left = len(deltas)
        cursor._data, cursor._at = data, 0
        cursor._delta, cursor._delta_max = deltas.start - 1, deltas.stop - 1
        cursor._base_offset, cursor._base_timestamp = base
        cursor._stamp = None
        return cursor

    @property
    def at(self) -> int:
        """The byte of the expanded records at which the next one begins."""
        return self._at

    def finish(self) -> None:
        """Make sure that nothing follows the last record.

        Raises:
            MalformedError: something does.
        """
        if self._at != len(self._data):
            raise MalformedError("records", self._at, f"{len(self._data) - self._at} bytes follow")

    def take(self, count: int) -> list[Record]:
        """Return the next records, at most so many; fewer if they have many headers.

        Raises:
            MalformedError: the bytes are no record, or its offset does not follow.
        """
        count = min(count, self.left)
        try:
            rows = self._take_quickly(count)
        except (IndexError, MalformedError):
            rows = self._take_carefully(count)
        self.left -= len(rows)
        return list(map(tuple.__new__, repeat(Record), rows))

    def take_times(self, count: int) -> list[tuple[Offset, int]]:
        """Return offset and timestamp of the next records, at most so many.

        Raises:
            MalformedError: lengths, timestamp or offset cannot be true; the rest is not looked at.
        """
        count = min(count, self.left)
        try:
            times = self._take_times(count)
        except IndexError as end:
            raise MalformedError("records", self._at, "the bytes end within a record") from end
        self.left -= count
        return times

    def _take_quickly(self, count: int) -> list[_Row]:  # noqa: C901, PLR0912, PLR0915 - hot
        data, at, delta, total = self._data, self._at, self._delta, len(self._data)
        base_offset, base_timestamp, stamp = self._base_offset, self._base_timestamp, self._stamp
        rows: list[_Row] = []
        push = rows.append
        room = _HEADERS_AT_ONCE
        for _ in range(count):
            if (size := data[at]) > 0x7F:
                at += 1
                size += (data[at] << 7) - 0x80
            at += 2  # now behind the attributes
            end = at + (size >> 1) - 1
            if (time := data[at]) > 0x7F:
                time, at = read_unsigned(data, at)
            else:
                at += 1
            time = base_timestamp + ((time >> 1) ^ -(time & 1))
            if (order := data[at]) > 0x7F:
                at += 1
                order += (data[at] << 7) - 0x80
            at += 1
            lengths = size | order
            key: bytes | None = None
            if (length := data[at]) != 1:
                if length > 0x7F:
                    at += 1
                    length += (data[at] << 7) - 0x80
                lengths |= length
                key = data[at + 1 : (at := at + (length >> 1)) + 1]
            at += 1
            value: bytes | None = None
            if (length := data[at]) != 1:
                if length > 0x7F:
                    at += 1
                    length += (data[at] << 7) - 0x80
                lengths |= length
                value = data[at + 1 : (at := at + (length >> 1)) + 1]
            at += 1
            headers: tuple[Header, ...] = ()
            if data[at]:
                headers, at = _decode_headers(data, at, end=end)
                room -= len(headers)
            else:
                at += 1
            if lengths & _ODD_OR_LONG or at != end or order >> 1 <= delta or end > total:
                raise IndexError
            if time > _INT64_MAX or time < _INT64_MIN:
                raise IndexError
            delta = order >> 1
            push((base_offset + delta, time if stamp is None else stamp, key, value, headers))
            if room <= 0:
                break
        self._advance(at, delta)
        return rows

    def _take_carefully(self, count: int) -> list[_Row]:
        data, stamp = self._data, self._stamp
        rows: list[_Row] = []
        room = _HEADERS_AT_ONCE
        while len(rows) < count and room > 0:
            start = self._at
            size, at = decode_varint(data, start)
            end = at + size
            if size < 0 or end > len(data):
                raise MalformedError("records", start, "length of the record")
            time, at = decode_varlong(data, at + 1)  # behind the attributes
            delta, at = decode_varint(data, at)
            time += self._base_timestamp
            if delta <= self._delta:
                raise MalformedError("records", start, "offsets do not rise")
            if not _INT64_MIN <= time <= _INT64_MAX:
                raise MalformedError("records", start, "timestamp of more than 64 bits")
            key, at = _decode_bytes(data, at, "length of the key")
            value, at = _decode_bytes(data, at, "length of the value")
            headers, at = _decode_headers(data, at, end=end)
            if at != end:
                raise MalformedError("records", start, "its fields do not fill the record")
            time = time if stamp is None else stamp
            rows.append((self._base_offset + delta, time, key, value, headers))
            self._advance(at, delta)
            room -= len(headers)
        return rows

    def _take_times(self, count: int) -> list[tuple[Offset, int]]:  # noqa: C901 - hot
        data, at, delta, total = self._data, self._at, self._delta, len(self._data)
        base_offset, base_timestamp, stamp = self._base_offset, self._base_timestamp, self._stamp
        times: list[tuple[int, int]] = []
        push = times.append
        for _ in range(count):
            start = self._at = at
            if (size := data[at]) > 0x7F:
                at += 1
                if (size := size + (data[at] << 7) - 0x80) > 0x3FFF:
                    size, at = read_unsigned(data, start)
                    at -= 1
            at += 1
            end = at + (size >> 1)
            at += 1  # the attributes
            if (time := data[at]) > 0x7F:
                at += 1
                if (time := time + (data[at] << 7) - 0x80) > 0x3FFF:
                    time, at = read_unsigned(data, at - 1)
                    at -= 1
            at += 1
            time = base_timestamp + ((time >> 1) ^ -(time & 1))
            if (order := data[at]) > 0x7F:
                at += 1
                if (order := order + (data[at] << 7) - 0x80) > 0x3FFF:
                    order, at = read_unsigned(data, at - 1)
                    at -= 1
            at += 1
            if size & 1 or end > total or at > end:
                raise MalformedError("records", start, "length of the record")
            if order & 1 or order >> 1 <= delta:
                raise MalformedError("records", start, "offsets do not rise")
            if time > _INT64_MAX or time < _INT64_MIN:
                raise MalformedError("records", start, "timestamp of more than 64 bits")
            delta = order >> 1
            at = end
            push((base_offset + delta, time if stamp is None else stamp))
        self._advance(at, delta)
        return cast("list[tuple[Offset, int]]", times)  # a call of Offset for each would cost

    def _advance(self, at: int, delta: int) -> None:
        if delta > self._delta_max:
            raise MalformedError("records", at, f"offset {delta} of {self._delta_max + 1}")
        self._at = at
        self._delta = delta


def _decode_bytes(data: bytes, at: int, what: str) -> tuple[bytes | None, int]:
    """Return the bytes whose length stands at a byte, and the byte after them."""
    length, after = decode_varint(data, at)
    if length < -1 or length > len(data) - after:
        raise MalformedError("records", at, what)
    return (None, after) if length < 0 else (data[after : after + length], after + length)


def _decode_headers(data: bytes, at: int, *, end: int) -> tuple[tuple[Header, ...], int]:
    """Return the headers whose number stands at a byte, and the byte after them."""
    count, at = decode_varint(data, at)
    if not 0 <= count <= (end - at) // 2:  # two bytes each, at least
        raise MalformedError("records", at, f"{count} headers in {end - at} bytes")
    if count > _HEADERS_MAX:
        raise MalformedError("records", at, f"{count} headers, a record has {_HEADERS_MAX} at most")
    headers: list[Header] = []
    for _ in range(count):
        start = at
        if at < end and (length := data[at]) < 0x80:
            at += 1
        else:
            length, at = _read_length(data, at)
        if length & 1:
            raise MalformedError("records", start, "a header without key")
        key = data[at : (at := at + (length >> 1))]
        if at < end and (length := data[at]) < 0x80:
            at += 1
        else:
            length, at = _read_length(data, at)
        value = None
        if length != 1:
            value = data[at : (at := at + (length >> 1))]
        if at > end or (length & 1 and length != 1):
            raise MalformedError("records", start, "length of a header")
        headers.append(tuple.__new__(Header, (key, value)))  # a third of the cost of Header()
    return tuple(headers), at


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    try:
        return read_unsigned(data, at)
    except IndexError as end:
        raise MalformedError("records", at, "the bytes end within a header") from end

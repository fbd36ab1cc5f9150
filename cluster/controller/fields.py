"""Fields of metadata records: the primitives that docs/formats/metadata_records.md names.

Integers are big-endian. A string is u16 length and UTF-8, an optional one begins with a byte 0 or
1, a list with its u32 count; a map is a list of pairs of strings, in rising order of the first.
"""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from cluster.controller.image import Endpoint, LogEnd, PartitionImage, Unclean
from model.errors import MalformedError
from model.ids import LeaderEpoch, NodeId, Offset

ItemT = TypeVar("ItemT")

_U16: Final = struct.Struct(">H")
_I32: Final = struct.Struct(">i")
_U32: Final = struct.Struct(">I")
_ENDPOINT_PORT: Final = struct.Struct(">H")
_PARTITION: Final = struct.Struct(">iiiHHH")  # number, leader, epoch; replicas, ISR, ELR: how many
_PARTITION_MORE: Final = struct.Struct(">iiHH")  # partition epoch, lossy epoch; marks, lost
_UNCLEAN: Final = struct.Struct(">iiq")  # node, last epoch, log end
_NO_LEADER: Final = -1
_NOT_SAID: Final = -1
"""A log end that is not known."""


def string(text: str) -> bytes:
    """Return a string's bytes."""
    encoded = text.encode()
    return _U16.pack(len(encoded)) + encoded


def optional_string(text: str | None) -> bytes:
    """Return an optional string's bytes."""
    return b"\0" if text is None else b"\1" + string(text)


def string_map(pairs: Mapping[str, str]) -> bytes:
    """Return a map's bytes; the same map has the same bytes."""
    rows = [string(key) + string(value) for key, value in sorted(pairs.items())]
    return _U32.pack(len(rows)) + b"".join(rows)


def endpoints(rows: tuple[Endpoint, ...]) -> bytes:
    """Return a list of endpoints: listener, host, u16 port."""
    encoded = [
        string(row.listener) + string(row.host) + _ENDPOINT_PORT.pack(row.port) for row in rows
    ]
    return _U32.pack(len(rows)) + b"".join(encoded)


def nodes(ids: tuple[NodeId, ...]) -> bytes:
    """Return a list of node ids."""
    return _U32.pack(len(ids)) + struct.pack(f">{len(ids)}i", *ids)


def partitions(rows: tuple[PartitionImage, ...]) -> bytes:
    """Return a list of partitions: fixed-width integers, node ids, marks; version 2."""
    return _U32.pack(len(rows)) + b"".join(map(_row, rows))


def _row(row: PartitionImage) -> bytes:
    leader = _NO_LEADER if row.leader is None else row.leader
    counts = (len(row.replicas), len(row.isr), len(row.elr))
    more = (row.partition_epoch, row.lossy_epoch, len(row.unclean), len(row.lost))
    nodes = (*row.replicas, *row.isr, *row.elr, *row.lost)
    return b"".join(
        (
            _PARTITION.pack(row.number, leader, row.leader_epoch, *counts),
            _PARTITION_MORE.pack(*more),
            struct.pack(f">{len(nodes)}i", *nodes),
            *(_UNCLEAN.pack(mark.node, *_end_of(mark)) for mark in row.unclean),
        )
    )


def _end_of(mark: Unclean) -> tuple[int, int]:
    return (_NOT_SAID, _NOT_SAID) if mark.recovered is None else mark.recovered


class FieldReader:
    """Reads one record's body from front to back. Every method raises MalformedError."""

    __slots__ = ("_at", "_body", "_end", "version")

    def __init__(self, body: bytes, start: int, end: int, *, version: int) -> None:
        """Read the bytes from `start` to `end` of a record of that version of its type."""
        self._body = body
        self._at = start
        self._end = end
        self.version = version

    def unpack(self, fields: struct.Struct) -> tuple[int, ...]:
        """Return fixed-width integers."""
        values: tuple[int, ...] = fields.unpack_from(self._body, self._take(fields.size))
        return values

    def fixed(self, size: int) -> bytes:
        """Return that many bytes."""
        at = self._take(size)
        return self._body[at : at + size]

    def string(self) -> str:
        """Return a string."""
        (size,) = self.unpack(_U16)
        at = self._at
        try:
            return self.fixed(size).decode()
        except UnicodeDecodeError as wrong:
            raise MalformedError("metadata record", at, "not UTF-8") from wrong

    def optional_string(self) -> str | None:
        """Return an optional string."""
        return self.string() if self.flag() else None

    def flag(self) -> bool:
        """Return a byte that is 0 or 1."""
        at = self._at
        byte = self.fixed(1)[0]
        if byte > 1:
            raise MalformedError("metadata record", at, f"{byte} is neither 0 nor 1")
        return bool(byte)

    def string_map(self) -> Mapping[str, str]:
        """Return a map; its keys rise, none stands there twice."""
        at = self._at
        pairs = self._list(lambda: (self.string(), self.string()), least_bytes=4)
        keys = [key for key, _ in pairs]
        if keys != sorted(set(keys)):
            raise MalformedError("metadata record", at, "keys of a map out of order")
        return MappingProxyType(dict(pairs))

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return a list of endpoints."""
        return self._list(self._endpoint, least_bytes=6)

    def nodes(self) -> tuple[NodeId, ...]:
        """Return a list of node ids; they rise, none stands there twice."""
        at = self._at
        found = self._list(lambda: NodeId(self.unpack(_I32)[0]), least_bytes=_I32.size)
        if list(found) != sorted(set(found)) or (found and found[0] < 0):
            raise MalformedError("metadata record", at, "node ids out of order")
        return found

    def partitions(self) -> tuple[PartitionImage, ...]:
        """Return a list of partitions, as this version of the record writes them."""
        if self.version == 1:
            return self._list(self._partition_v1, least_bytes=_PARTITION.size)
        return self._list(self._partition, least_bytes=_PARTITION.size + _PARTITION_MORE.size)

    def finish(self) -> None:
        """Refuse bytes that no field took."""
        if self._at != self._end:
            raise MalformedError("metadata record", self._at, f"{self._end - self._at} bytes more")

    def _endpoint(self) -> Endpoint:
        listener, host = self.string(), self.string()
        return Endpoint(listener, host, self.unpack(_ENDPOINT_PORT)[0])

    def _partition_v1(self) -> PartitionImage:
        """Return a row of the release that had no partition epoch: each change raised the other."""
        at = self._at
        number, leader, epoch, replicas, isr, elr = self.unpack(_PARTITION)
        self._check_row(at, number, (leader, epoch, replicas))
        return PartitionImage(
            number,
            None if leader == _NO_LEADER else NodeId(leader),
            LeaderEpoch(epoch),
            self._nodes(replicas),
            self._nodes(isr),
            self._nodes(elr),
            partition_epoch=epoch,
        )

    def _partition(self) -> PartitionImage:
        at = self._at
        number, leader, epoch, replicas, isr, elr = self.unpack(_PARTITION)
        self._check_row(at, number, (leader, epoch, replicas))
        partition_epoch, lossy_epoch, marks, lost = self.unpack(_PARTITION_MORE)
        if partition_epoch < 0 or not -1 <= lossy_epoch <= epoch:
            why = f"epochs {partition_epoch} and {lossy_epoch} of partition {number}"
            raise MalformedError("metadata record", at, why)
        isr_end = replicas + isr
        nodes = self._nodes(isr_end + elr + lost)  # at once: a start reads every change of a row
        return PartitionImage(
            number,
            None if leader == _NO_LEADER else NodeId(leader),
            LeaderEpoch(epoch),
            nodes[:replicas],
            nodes[replicas:isr_end],
            nodes[isr_end : isr_end + elr],
            lost=nodes[isr_end + elr :],
            unclean=tuple(self._unclean() for _ in range(marks)),
            partition_epoch=partition_epoch,
            lossy_epoch=LeaderEpoch(lossy_epoch),
        )

    def _check_row(self, at: int, number: int, rest: tuple[int, int, int]) -> None:
        leader, epoch, replicas = rest
        if number < 0 or leader < _NO_LEADER or epoch < 0 or not replicas:
            raise MalformedError("metadata record", at, f"partition {number}")

    def _nodes(self, count: int) -> tuple[NodeId, ...]:
        at = self._take(count * _I32.size)
        nodes: tuple[NodeId, ...] = struct.unpack_from(f">{count}i", self._body, at)
        return nodes

    def _unclean(self) -> Unclean:
        at = self._at
        node, last_epoch, log_end = self.unpack(_UNCLEAN)
        if (last_epoch, log_end) == (_NOT_SAID, _NOT_SAID):
            return Unclean(NodeId(node))
        if last_epoch < -1 or log_end < 0:
            why = f"a log of node {node} that ends at {log_end} in epoch {last_epoch}"
            raise MalformedError("metadata record", at, why)
        return Unclean(NodeId(node), LogEnd(LeaderEpoch(last_epoch), Offset(log_end)))

    def _list(self, item: Callable[[], ItemT], *, least_bytes: int) -> tuple[ItemT, ...]:
        (count,) = self.unpack(_U32)
        if count * least_bytes > self._end - self._at:
            raise MalformedError("metadata record", self._at, f"a list of {count}")
        return tuple(item() for _ in range(count))

    def _take(self, size: int) -> int:
        at = self._at
        if size > self._end - at:
            raise MalformedError("metadata record", at, f"{size} bytes needed")
        self._at = at + size
        return at

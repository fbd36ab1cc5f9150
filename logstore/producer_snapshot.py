"""A snapshot of the producer state of one partition: bytes out, bytes in.

Format: docs/formats/producers.md, version 1. A damaged snapshot is not repaired: an older one, or
the start of the log, is read instead.
"""

import struct
from collections.abc import Iterator
from typing import Final

from logstore.crc32c import crc32c
from logstore.producer_state import Producer, ProducerState, Remembered
from model.errors import MalformedError
from model.ids import AppendTimeMs, Offset, ProducerEpoch, ProducerId, Sequence

MAGIC: Final = b"TLPRODUC"
VERSION: Final = 1
_HEAD: Final = struct.Struct(">8sHHIq")  # magic, version, zero, producers, offset
_CRC: Final = struct.Struct(">I")
_PRODUCER: Final = struct.Struct(">qhHiq")  # id, epoch, batches, next sequence, last append time
_BATCH: Final = struct.Struct(">iIqq")  # base sequence, records, base offset, append time


def encode(state: ProducerState, offset: Offset) -> bytes:
    """Return the file of a snapshot that reflects every batch below `offset`, and no other."""
    parts: list[bytes] = []
    count = 0
    for producer_id, known in state.items():
        count += 1
        parts.append(
            _PRODUCER.pack(
                producer_id,
                known.epoch,
                len(known.window),
                known.next_sequence,
                known.last_append_time,
            )
        )
        for batch in known.window:
            assert batch.end_offset <= offset, "PRODUCER_SNAPSHOT_IS_PAST"
            parts.append(_BATCH.pack(*batch))
    head = _HEAD.pack(MAGIC, VERSION, 0, count, offset)
    body = b"".join(parts)
    return b"".join((head, _CRC.pack(crc32c(head + body)), body))


def decode(file: bytes) -> tuple[Offset, list[tuple[ProducerId, Producer]]]:
    """Return the snapshot's offset and its producers, in order.

    Raises:
        MalformedError: another magic or version, a wrong checksum or length.
    """
    start = _HEAD.size + _CRC.size
    if len(file) < start:
        raise MalformedError("producer snapshot", 0, f"{len(file)} bytes")
    magic, version, zero, count, offset = _HEAD.unpack_from(file)
    if (magic, version, zero) != (MAGIC, VERSION, 0):
        raise MalformedError("producer snapshot", 0, f"magic {magic!r} version {version}")
    if _CRC.unpack_from(file, _HEAD.size)[0] != crc32c(file[: _HEAD.size] + file[start:]):
        raise MalformedError("producer snapshot", _HEAD.size, "checksum")
    producers = list(_producers(file, start, count))
    return Offset(offset), producers


def _producers(file: bytes, at: int, count: int) -> Iterator[tuple[ProducerId, Producer]]:
    try:
        for _ in range(count):
            producer_id, epoch, batches, next_sequence, last = _PRODUCER.unpack_from(file, at)
            at += _PRODUCER.size
            window = []
            for _ in range(batches):
                base, records, base_offset, append_time = _BATCH.unpack_from(file, at)
                at += _BATCH.size
                window.append(
                    Remembered(
                        Sequence(base), records, Offset(base_offset), AppendTimeMs(append_time)
                    )
                )
            yield (
                ProducerId(producer_id),
                Producer(ProducerEpoch(epoch), Sequence(next_sequence), AppendTimeMs(last), window),
            )
    except struct.error as short:
        raise MalformedError("producer snapshot", at, "file ends") from short
    if at != len(file):
        raise MalformedError("producer snapshot", at, f"{len(file) - at} bytes too many")

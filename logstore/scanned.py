"""What the files of a partition hold above its checkpoint row, where no journal speaks of it.

Only topics with flush=async have such batches. Each counts that is whole, matches its checksum, and
lies below the end of the rows that tell when it was appended (docs/formats/times.md).
"""

from collections.abc import Iterator
from typing import Final

from logstore.crc32c import crc32c
from logstore.recovery_report import RecoveryReport
from logstore.times import ROW_BYTES, TimesRow, decode, decode_row
from model.errors import MalformedError
from model.ids import Offset, Position
from model.ports import File
from model.record import BatchHeader, iter_batches

SCAN_BYTES: Final = 4 << 20
"""Read at once, or more where one batch is larger."""


def row_before(file: File, known_bytes: int) -> TimesRow | None:
    """Return the last row of a `.times` that the checkpoint knows so many bytes of.

    None: there is none, or it is damaged.
    """
    if known_bytes <= ROW_BYTES:
        return None
    return decode_row(file.pread(ROW_BYTES, Position(known_bytes - ROW_BYTES)))


def rows_above(
    file: File, base_offset: Offset, end: Offset, *, known_bytes: int, before: TimesRow | None
) -> list[TimesRow]:
    """Return the rows behind those of the checkpoint, as far as each goes on where they ended.

    The last says how far batches are covered: it closes the one before. `end`: where the checkpoint
    lets the log end; `before`: what `row_before` has found.
    """
    if not known_bytes:
        try:
            decode(file.pread(ROW_BYTES, Position(0)), base_offset)
        except MalformedError:
            return []
    position = known_bytes or ROW_BYTES
    content = file.pread(max(0, file.size() - position), Position(position))
    rows: list[TimesRow] = []
    covered = end
    for at in range(0, len(content) - ROW_BYTES + 1, ROW_BYTES):
        row = decode_row(content[at : at + ROW_BYTES])
        if row is None or row.offset < covered:
            break
        closes = before is not None and row[1:] == before[1:]
        if not closes and row.offset != covered:
            break
        rows.append(row)
        covered, before = row.offset, row
    return rows


def whole_batches(file: File, position: int, report: RecoveryReport) -> Iterator[BatchHeader]:
    """Yield the batches from a position on that are whole and match their checksums."""
    size = file.size()
    report.scanned_bytes += max(0, size - position)
    chunk = SCAN_BYTES
    while position < size:
        content = memoryview(file.pread(min(chunk, size - position), Position(position)))
        used = 0
        try:
            for batch in iter_batches(content):
                header = BatchHeader(batch)
                if crc32c(header.covered) != header.crc32c:
                    return
                yield header
                used += len(batch)
        except MalformedError:
            return
        position += used
        if not used:
            if len(content) == size - position:
                return
            chunk *= 2

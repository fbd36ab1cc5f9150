"""What a log says of its producers and leader epochs: read from the batches alone, all of them.

An opinion of its own: it shares nothing with the code that it judges but the layout of a batch
header (docs/formats/record_batch.md).
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from logstore.leader_epochs import EpochStart
from model.ids import AppendTimeMs

WINDOW: Final = 5
HEADER: Final = struct.Struct(">qiiBIhiqqqhii")
"""base offset, length, leader epoch, magic, checksum, attributes, last offset delta, two
timestamps, producer id, producer epoch, base sequence, records."""

Batches = Sequence[tuple[bytes, AppendTimeMs]]
"""From the first that was ever written on: each, and when it was appended."""


def producers_wrong(batches: Batches, found: Iterable[tuple[object, ...]]) -> str | None:
    """Say what is wrong with what is known of producers: (id, next sequence, window...) of each."""
    told = _producers(batches)
    known = {each[0]: each[1:] for each in found}
    for name, (next_sequence, *window) in known.items():
        if name not in told:
            return f"producer {name} never wrote"
        wanted_sequence, *wanted = told[name]
        if next_sequence != wanted_sequence or window != wanted:
            return f"of producer {name} it knows {known[name]}, not {told[name]}"
    lacking = sorted(told.keys() - known.keys(), key=str)
    return f"producers {lacking} are forgotten" if lacking else None


def epochs_wrong(
    batches: Batches, found: tuple[EpochStart, ...], log_start: int, *, may_lack: bool
) -> str | None:
    """Say what is wrong with a table of leader epochs.

    Of a log without a record the epoch of the last one that there was must be known, unless it was
    cut off down to its start (`may_lack`).
    """
    end, table = 0, list[tuple[int, int]]()
    for data, _ in batches:
        base, _, epoch, _, _, _, delta, *_ = HEADER.unpack_from(data)
        if not table or epoch > table[-1][0]:
            table.append((epoch, base))
        end = base + delta + 1
    wanted, have = _from(log_start, table), _from(log_start, found)
    if end <= log_start:
        wanted, have = wanted[-1:], have[-1:]
        if not have and may_lack:
            return None
    return None if have == wanted else f"leader epochs {have}, not {wanted}"


def _from(log_start: int, table: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the rows that speak of records at or above the log start; of none, the last row."""
    rows = [(epoch, max(start, log_start)) for epoch, start in table]
    later = sum(start > log_start for _, start in rows)
    return rows[max(0, len(rows) - later - 1) :]


def _producers(batches: Batches) -> dict[object, list[object]]:
    told: dict[object, list[object]] = {}
    epochs: dict[object, int] = {}
    for data, append_time in batches:
        base, *_, name, epoch, sequence, records = HEADER.unpack_from(data)
        if name < 0:
            continue
        if epochs.get(name) != epoch or told[name][0] != sequence:
            told[name] = [0]  # begins anew
        epochs[name] = epoch
        window = [*told[name][1:], (sequence, records, base, append_time)]
        told[name] = [sequence + records, *window[-WINDOW:]]
    return told

"""Any bytes as a `.times` file."""

from itertools import pairwise
from typing import Final

from logstore.times import ROW_BYTES, Times, decode
from logstore.times_repair import repair
from model.errors import MalformedError
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from tests.fuzz.sealing import sealed_at

BASE: Final = Offset(100)
START: Final = AppendTimeMs(1_700_000_000_000)


def samples() -> list[bytes]:
    """Return files of no, one and many rows, and one that ends within a row."""
    files = []
    for rows in (0, 1, 30):
        times = Times(BASE)
        for row in range(rows):
            times.append(
                Offset(BASE + 5 * row), LeaderEpoch(row // 9), AppendTimeMs(START + 10 * row)
            )
        files.append(times.encode_head() + times.encode_rows())
    return [*files, files[-1][:-7]]


def fuzz(data: bytes) -> None:
    """Read the file as it is, and with the checksums of its head and rows made right."""
    resealed = b"".join(
        sealed_at(row, ROW_BYTES - 4, row[: ROW_BYTES - 4])
        for row in (data[at : at + ROW_BYTES] for at in range(0, len(data), ROW_BYTES))
    )
    for file in (data, resealed):
        try:
            decoded = decode(file, BASE)
        except MalformedError:
            continue
        rows = list(decoded.times.rows())
        assert rows == sorted(rows), "out of order"
        assert all(a.append_time <= b.append_time for a, b in pairwise(rows))
        assert len(rows) + len(decoded.damaged) <= len(file) // ROW_BYTES, "rows from nowhere"
        ceiling, end = AppendTimeMs(START + 1_000), Offset(BASE + 1_000)
        repair(decoded, iter(()), floor=START, ceiling=ceiling, end=end)

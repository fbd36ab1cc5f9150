"""The demo of `tidelog dev --demo`: a year of real departures in, exact stretches of time out.

At the end two members of a group share it, and are sent back by time (`demo_group`).

It uses the public SDK, as any program would. What comes back is compared, record by record, with
the file (event time) and with the acknowledgements (append time); a difference ends it with 1.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import tidelog
from api.cli.demo_group import GroupStory
from api.cli.flights import FLIGHTS, Flight, read_flights
from api.door import Address
from api.node.system_limits import process_age_ms
from tidelog.cli.failure import Exit
from tidelog.cli.run import Run

NAME: Final = "flights"
TOPIC: Final = "flights"
PARTITIONS: Final = 6
DAY: Final = datetime(2013, 7, 4, tzinfo=UTC)
DATA: Final = "TIDELOG_DEMO_DATA"
LAST: Final = timedelta(seconds=2)
BACK: Final = timedelta(milliseconds=500)
"""How far the group is sent back: so much before the newest record came in."""


@dataclass(frozen=True, slots=True)
class FlightCodec:
    """A flight's line as the record's value."""

    def encode(self, value: Flight, /) -> bytes:
        """Return the CSV line."""
        return value.value

    def decode(self, data: bytes, /) -> Flight:
        """Return a flight of which only the line is known."""
        return Flight(0, None, data)


async def run(name: str, addresses: Mapping[str, Address], cli: Run) -> int:
    """Run the demo over the node's own gRPC door; return the exit code."""
    if name != NAME:
        cli.stderr.write(f'error: there is no demo "{name}"\nhint: there is one: --demo {NAME}\n')
        return Exit.USAGE
    archive = cli.environment.get(DATA)
    if archive is None:
        cli.stderr.write(
            f"error: the demo reads the file that {DATA} names, and it is not set\n"
            "hint: python3 dev.py run --demo fetches the data and sets it\n"
        )
        return Exit.USAGE
    host, port = addresses["grpc"]
    url, now = f"tidelog://{host}:{port}", asyncio.get_running_loop().time
    async with tidelog.connect(url, client_id="demo") as client:
        group = GroupStory(url, TOPIC, cli.write, now)
        story = _Story(client, group, cli.write, now, lambda: process_age_ms() / 1000)
        return await story.tell(list(read_flights(archive)))


@dataclass(slots=True)
class _Story:
    """What the demo does, step by step."""

    client: tidelog.Client
    group: GroupStory
    say: Callable[[str], Any]
    now: Callable[[], float]
    """Seconds, on the loop's clock."""
    age_s: Callable[[], float]
    """Seconds since this program was started."""

    async def tell(self, flights: Sequence[Flight]) -> int:
        """Produce, replay a day, replay the last moment; 0 if everything was exact."""
        if len(flights) != FLIGHTS:
            self.say(f"demo: the file has {len(flights)} flights, {FLIGHTS} were expected\n")
            return 1
        await self.client.topics.create(TOPIC, partitions=PARTITIONS, exist_ok=True)
        acks = await self._produce(flights)
        day = await self._replay_day(flights)
        last = await self._replay_last(flights, acks)
        newest = max(ack.append_time for ack in acks if ack.append_time is not None)
        group = await self.group.tell(newest - BACK)
        return 0 if day and last and group else 1

    async def _produce(self, flights: Sequence[Flight]) -> Sequence[tidelog.Ack]:
        began = self.now()
        async with self.client.producer(value=FlightCodec()) as producer:
            first = flights[0]
            acks = [await producer.send(TOPIC, first, key=first.key, timestamp=_happened(first))]
            self.say(
                f"demo: the first record was acknowledged {self.age_s():.1f} s after the start\n"
            )
            acks += await producer.send_many(
                TOPIC, flights[1:], key=lambda flight: flight.key, timestamp=_happened
            )
        took = self.now() - began
        self.say(
            f"demo: {len(acks)} records produced to {TOPIC} ({PARTITIONS} partitions, key tailnum, "
            f"event time time_hour), each on disk: {took:.1f} s\n"
        )
        return acks

    async def _replay_day(self, flights: Iterable[Flight]) -> bool:
        """Replay one UTC day by event time and compare it with the file."""
        start = int(DAY.timestamp()) * 1000
        end = start + 86_400_000
        wanted = Counter(
            (flight.time_ms, flight.key, flight.value)
            for flight in flights
            if start <= flight.time_ms < end
        )
        during = tidelog.TimeRange(DAY, DAY + timedelta(days=1), clock="event")
        began = self.now()
        got = Counter(
            [
                (_ms(record.timestamp), record.key, record.value.value if record.value else b"")
                async for record in self._replay(during)
            ]
        )
        took = self.now() - began
        return self._judge(
            f"{DAY:%Y-%m-%d} (UTC) by event time",
            got,
            wanted,
            took=took,
            source="departures in the file",
        )

    async def _replay_last(self, flights: Sequence[Flight], acks: Sequence[tidelog.Ack]) -> bool:
        """Replay what arrived in the last seconds by append time; the acks say what that is."""
        newest = max(ack.append_time for ack in acks if ack.append_time is not None)
        start = newest - LAST
        wanted = Counter(
            (ack.partition, ack.offset, flight.value)
            for ack, flight in zip(acks, flights, strict=True)
            if ack.append_time is not None and ack.append_time >= start
        )
        during = tidelog.TimeRange(start, newest + timedelta(milliseconds=10), clock="append")
        began = self.now()
        got = Counter(
            [
                (record.partition, record.offset, record.value.value if record.value else b"")
                async for record in self._replay(during)
            ]
        )
        took = self.now() - began
        seconds = int(LAST.total_seconds())
        return self._judge(
            f"the last {seconds} s by append time",
            got,
            wanted,
            took=took,
            source="acknowledged since then",
        )

    async def _replay(
        self, during: tidelog.TimeRange
    ) -> AsyncIterator[tidelog.Record[bytes, Flight]]:
        async with self.client.replay(TOPIC, during=during, value=FlightCodec()) as history:
            async for record in history:
                yield record

    def _judge(
        self, what: str, got: Counter[Any], wanted: Counter[Any], *, took: float, source: str
    ) -> bool:
        exact = got == wanted
        verdict = "exactly" if exact else "NOT"
        self.say(
            f"demo: {what}: {got.total()} records replayed in {took:.2f} s, "
            f"{verdict} the {wanted.total()} {source}\n"
        )
        return exact


def _happened(flight: Flight) -> datetime:
    return datetime.fromtimestamp(flight.time_ms / 1000, UTC)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else round(time.timestamp() * 1000)

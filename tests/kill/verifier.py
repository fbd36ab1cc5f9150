"""Reads everything back and compares it with what was promised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import grpc
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.kill.grpc_reader import read_over_grpc
from tests.kill.ledger import Identity, Ledger, at, name
from tests.kill.node_process import Doors
from tests.kill.payload import Place, identity

MESSAGES_MAX: Final = 5_000
WAIT_S: Final = 0.05
"""A call gathers messages for so long."""
QUIET_S_MAX: Final = 60.0
"""Without a message for so long a read has failed."""
ASK_S_MAX: Final = 60.0
STAMPED: Final = 2
CONFIG: Final[dict[str, Any]] = {
    "group.id": "verifier",
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "check.crcs": True,
    "fetch.wait.max.ms": 10,
    "fetch.message.max.bytes": 1 << 20,
    "queued.max.messages.kbytes": 65_536,
    "log_level": 2,
}


@dataclass(slots=True)
class Reading:
    """What one reading has found."""

    records: int = 0
    doubled: int = 0
    """Records of producers without idempotence that are there more than once: their right."""
    once: dict[Identity, Place] = field(default_factory=dict)


class Verifier:
    """Judges a node against a ledger. Every sender is quiet and has its answers."""

    def __init__(self, doors: Doors, places: Sequence[Place], ledger: Ledger) -> None:
        """Judge these partitions."""
        self._bootstrap = doors.kafka
        self._target = doors.grpc
        self._places = places
        self._ledger = ledger

    def read_all(self) -> Reading:
        """Read every partition from its start to its end; what is wrong goes to the ledger."""
        reading = Reading()
        consumer: Any = Consumer({**CONFIG, "bootstrap.servers": self._bootstrap})
        try:
            ends = self._bounds(consumer)
            found = self._read(consumer, ends, reading)
        except (KafkaException, TimeoutError) as error:
            self._ledger.problem(f"cannot be read back: {error}")
            return reading
        finally:
            consumer.close()
        for place in ends:
            self._compare(place, found[place])
        self._all_there(reading)
        self._read_again(ends, found)
        return reading

    def _read_again(
        self, ends: Mapping[Place, int], found: Mapping[Place, Sequence[Identity]]
    ) -> None:
        """Read the same over gRPC."""
        try:
            again = read_over_grpc(self._target, ends, self._ledger)
        except grpc.RpcError as error:
            self._ledger.problem(f"cannot be read back over gRPC: {error}")
            return
        for place in ends:
            if again[place][: ends[place]] != found[place][: ends[place]]:
                self._ledger.problem(f"{place}: Fetch over gRPC shows other records")

    def _bounds(self, consumer: Any) -> dict[Place, int]:
        """Return the end of each partition; its start is 0, its end behind every promise."""
        ends = {}
        for place in self._places:
            asked = TopicPartition(*place)
            try:
                low, high = consumer.get_watermark_offsets(asked, timeout=ASK_S_MAX)
            except KafkaException as error:
                count = len(self._ledger.acked[place])
                self._ledger.lose(f"{place} with {count} acknowledged records: {error}", count)
                continue
            if low != 0:
                self._ledger.problem(f"{place} begins at {low}: nothing was removed")
            acked = max(self._ledger.acked[place], default=-1) + 1
            if high < acked:
                self._ledger.problem(f"{place} ends at {high}, acknowledged is {acked - 1}")
            shown = max(self._ledger.marks[place].values(), default=0)
            if high < shown:
                self._ledger.problem(f"{place} ends at {high}, a reader was shown {shown}")
            self._ledger.mark(place, high, reader="verifier")
            ends[place] = high
        return ends

    def _read(
        self, consumer: Any, ends: Mapping[Place, int], reading: Reading
    ) -> dict[Place, list[Identity]]:
        """Return who stands at each offset."""
        found: dict[Place, list[Identity]] = {place: [] for place in ends}
        missing = {place for place, end in ends.items() if end}
        consumer.assign([TopicPartition(*place, 0) for place in missing])
        until = monotonic() + QUIET_S_MAX
        while missing:
            messages = consumer.consume(MESSAGES_MAX, WAIT_S)
            if messages:
                until = monotonic() + QUIET_S_MAX
            elif monotonic() > until:
                raise TimeoutError(
                    f"no message, and {len(missing)} partitions are not at their end"
                )
            for message in messages:
                place = Place(message.topic(), message.partition())
                if message.error() is None:
                    self._take(message, found[place], reading)
                elif message.error().code() != AT_END:
                    raise KafkaException(message.error())
                if len(found[place]) >= ends[place]:
                    missing.discard(place)
        return found

    def _take(self, message: Any, rows: list[Identity], reading: Reading) -> None:
        """Look at one record alone: the next offset, and byte for byte what was sent."""
        place = Place(message.topic(), message.partition())
        offset, value = message.offset(), message.value() or b""
        if offset != len(rows):
            raise KafkaException(f"{at(place, len(rows))} is followed by {offset}")
        try:
            who = identity(value)
            account = self._ledger.accounts[who[0]]
        except (ValueError, KeyError):
            self._ledger.problem(f"{at(place, offset)} is nobody's record")
            rows.append((-1, -1))
            return
        author, sequence = account.author, who[1]
        kind, time = message.timestamp()
        if value != author.value_of(sequence) or message.key() != author.key_of(sequence):
            self._ledger.problem(f"{at(place, offset)}: {name(who)} has other bytes")
        if sequence >= account.sent or author.place_of(sequence) != place:
            self._ledger.problem(f"{at(place, offset)}: {name(who)} was never sent there")
        if kind != STAMPED and time != author.time_of(sequence):
            self._ledger.problem(f"{at(place, offset)}: {name(who)} has another time")
        if kind == STAMPED:
            told = self._ledger.append_times[place].setdefault(offset, time)
            if told != time:
                problem = f"{name(who)} was appended at {told}, not {time}"
                self._ledger.problem(f"{at(place, offset)}: {problem}")
        rows.append(who)
        reading.records += 1
        if who in reading.once:
            reading.doubled += 1
            if author.idempotent:
                self._ledger.problem(f"{at(place, offset)}: {name(who)} is there twice")
        reading.once[who] = place

    def _compare(self, place: Place, found: Sequence[Identity]) -> None:
        """Compare with what was acknowledged, and with what a reader was shown."""
        for promise, rows in (("acknowledged", self._ledger.acked), ("shown", self._ledger.seen)):
            for offset, who in rows[place].items():
                there = found[offset] if offset < len(found) else None
                if there != who:
                    instead = "nothing" if there is None else name(there)
                    where = f"{promise} at {at(place, offset)}, where {instead} is"
                    self._ledger.lose(f"{name(who)}, {where}")
        last: dict[int, int] = {}
        for offset, (producer, sequence) in enumerate(found):
            account = self._ledger.accounts.get(producer)
            if account is None or not account.author.idempotent:
                continue
            if sequence <= last.get(producer, -1):
                who = (producer, sequence)
                self._ledger.problem(f"{at(place, offset)}: {name(who)} comes after a later one")
            last[producer] = sequence

    def _all_there(self, reading: Reading) -> None:
        """Everything that was sent is there: every client has had its answers."""
        for producer, account in self._ledger.accounts.items():
            if account.unanswered or account.refused:
                continue
            there = sum((producer, sequence) in reading.once for sequence in range(account.sent))
            if there != account.sent:
                missing = account.sent - there
                self._ledger.problem(f"{missing} records of producer {producer} are not in the log")


AT_END: Final = -191
"""confluent_kafka.KafkaError._PARTITION_EOF."""

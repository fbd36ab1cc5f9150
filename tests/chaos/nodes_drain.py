"""Reading all of it when the strikes are over: by the group, and once more from the beginning."""

from collections.abc import Mapping, Sequence
from threading import Event
from time import monotonic
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.chaos.history import AnyEvent, Begin, Closed, Drained, History, now_us
from tests.chaos.nodes_plan import GROUP, PARTITIONS, READS_ALL, TOPIC
from tests.chaos.nodes_watch import NotBack
from tests.chaos.recorder import Seen, note_records
from tidelog.sync import Client

GROUP_S_MAX: Final = 120.0
"""Members have read to the end within it."""
QUIET_S_MAX: Final = 60.0
"""A reader is given something, or is at the end."""
ASK_S: Final = 0.3
ASK_S_MAX: Final = 30.0
MOST: Final = 5_000
SETTINGS: Final[dict[str, Any]] = {
    "group.id": READS_ALL,
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "check.crcs": True,
    "fetch.wait.max.ms": 50,
    "log_level": 0,
}


def at(partition: int) -> str:
    """Return how a partition is called in a history."""
    return f"{TOPIC}/{partition}"


def ends(servers: str) -> dict[int, int]:
    """Return where each partition ends, as its leader says, now that nobody writes.

    Raises:
        KafkaException: a leader does not say so.
    """
    consumer: Any = Consumer({**SETTINGS, "bootstrap.servers": servers})
    try:
        return {
            number: consumer.get_watermark_offsets(TopicPartition(TOPIC, number), ASK_S_MAX)[1]
            for number in range(PARTITIONS)
        }
    finally:
        consumer.close()


def wait_for_group(client: Client, wanted: Mapping[int, int]) -> None:
    """Wait until the group has committed everything.

    Raises:
        NotBack: it has not.
    """
    until = monotonic() + GROUP_S_MAX
    while missing := _missing(client, wanted):
        if monotonic() > until:
            raise NotBack(f"{GROUP} has not read to the end in {GROUP_S_MAX:.0f} s: {missing}")
        Event().wait(ASK_S)


def _missing(client: Client, wanted: Mapping[int, int]) -> str:
    """Return what the group has not committed; nothing: it has all."""
    rows = client.groups.offsets(GROUP, topics=[TOPIC])
    found = {row.partition.partition: row.committed.offset for row in rows if row.committed}
    behind = {at(n): (found.get(n, 0), end) for n, end in wanted.items() if found.get(n, 0) < end}
    return "" if not behind else f"{len(behind)} partitions, {list(behind.items())[:4]}"


def read_all(servers: str, history: History, wanted: Mapping[int, int]) -> None:
    """Read every partition from its beginning to where it ends, and write down what came.

    Raises:
        NotBack: nothing comes, and there is more.
        KafkaException: a reader was refused.
    """
    if behind := read_on(servers, history, wanted):
        raise NotBack(f"nothing comes for {QUIET_S_MAX:.0f} s, and there is more: {behind}")


def read_on(
    servers: str, history: History, wanted: Mapping[int, int]
) -> dict[int, tuple[int, int]]:
    """Read as `read_all`, until nothing comes; return where it is not at the end, and the end.

    Raises:
        KafkaException: a reader was refused.
    """
    consumer: Any = Consumer({**SETTINGS, "bootstrap.servers": servers})
    position = dict.fromkeys(wanted, 0)
    for number in wanted:
        history.note(Begin(history.clock(), at=at(number), offset=0))
    try:
        consumer.assign([TopicPartition(TOPIC, number, 0) for number in wanted])
        until = monotonic() + QUIET_S_MAX
        while any(position[number] < end for number, end in wanted.items()):
            seen = _seen(consumer.consume(MOST, ASK_S))
            note_records(history, seen)
            for record in seen:
                position[int(record.at.rpartition("/")[2])] = record.offset + 1
            if seen:
                until = monotonic() + QUIET_S_MAX
            elif monotonic() > until:
                break
    finally:
        consumer.close()
    history.note(Closed(history.clock()))
    return {n: (position[n], end) for n, end in wanted.items() if position[n] < end}


def _seen(messages: Sequence[Any]) -> list[Seen]:
    found = []
    for one in messages:
        error = one.error()
        if error is None:
            where = at(one.partition())
            found.append(Seen(where, one.offset(), one.value(), one.leader_epoch(), None))
        elif not (error.retriable() or error.code() in TRANSIENT):
            raise KafkaException(error)
    return found


TRANSIENT: Final = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})


def drained(wanted: Mapping[int, int], *groups: str) -> list[AnyEvent]:
    """Return what the run writes down when everything was read, by these groups too."""
    return [
        Drained(now_us(), at=at(number), end=end, group=group)
        for number, end in wanted.items()
        for group in (None, *groups)
    ]

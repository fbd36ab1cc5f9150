"""A snapshot of a state partition as rows for people: whose it is, then what it says."""

from collections.abc import Iterator
from dataclasses import fields
from enum import Enum

from cluster.state_partition.snapshot import Framed, decode
from consumer_groups.codec import decode as decode_group_record
from consumer_groups.records import Owned
from logstore.dump import Row
from model.errors import MalformedError
from model.ids import PartitionId


def state_rows(file: bytes) -> Iterator[Row]:
    """Yield a row for the head and one for each record; one with `fault` for what does not parse.

    Raises:
        DirectoryRefused: exit 13, written by a newer release.
    """
    try:
        snapshot = decode(file)
    except MalformedError as malformed:
        yield {"position": malformed.at, "fault": malformed.why}
        return
    yield {
        "type": "snapshot",
        "topic_id": snapshot.partition.topic.hex(),
        "partition": snapshot.partition.number,
        "offset": snapshot.offset,
        "records": len(snapshot.records),
    }
    yield from map(record_row, snapshot.records)


def record_row(framed: Framed) -> Row:
    """Return one record of a coordinator."""
    try:
        record = decode_group_record(*framed)
    except MalformedError as malformed:
        return {"key": framed.key.hex(), "value": framed.value.hex(), "fault": malformed.why}
    row: Row = {"type": type(record).__name__}
    return row | {one.name: _shown(getattr(record, one.name)) for one in fields(record)}


def _shown(value: object) -> object:
    """Return a field as text or number."""
    match value:
        case Enum():
            return value.name.lower()
        case PartitionId(topic, number):
            return f"{topic.hex()}/{number}"
        case Owned(partition, since_epoch):
            return f"{_shown(partition)}@{since_epoch}"
        case tuple():
            return [_shown(one) for one in value]
        case _:
            return value

"""All that a replay needs to go on at the exact record, in another process, after a crash."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidelog.places import timestamp_of_ns, timestamp_to_ns
from tidelog.types import Cursor
from tidelog.v1 import common_pb2 as common

VERSION: Final = 1


@dataclass(slots=True)
class Place:
    """Where a reader stands in one partition, and where it ends there."""

    offset: int
    """The next one to read."""
    leader_epoch: int | None = None
    """Of the record before it."""
    stop: int | None = None
    """Exclusive; None: never, or not known yet."""
    truncated: bool = False


Key = tuple[str, int]
"""Topic and partition."""


class Checkpoint:
    """Where a replay stands: a value; keep it as text with `to_json`."""

    __slots__ = ("_places", "_times")

    def __init__(self, places: Mapping[Key, Place], times: common.TimeRange | None) -> None:
        """Copy the places; `times`: the range that is read, in absolute times."""
        self._places = {
            key: Place(one.offset, one.leader_epoch, one.stop, one.truncated)
            for key, one in places.items()
        }
        self._times = times

    @property
    def cursors(self) -> Sequence[Cursor]:
        """The next offset of each partition."""
        return [
            Cursor(topic, partition, one.offset, one.leader_epoch)
            for (topic, partition), one in sorted(self._places.items())
        ]

    @property
    def places(self) -> Mapping[Key, Place]:
        """Where it stands, with the ends of a bounded replay."""
        return self._places

    @property
    def times(self) -> common.TimeRange | None:
        """The range that is read; None: none."""
        return self._times

    def __eq__(self, other: object) -> bool:
        """Tell whether both go on at the same records."""
        return isinstance(other, Checkpoint) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        """Return what equal ones share."""
        return hash(self.to_json())

    def __repr__(self) -> str:
        """Return its text."""
        return f"Checkpoint.from_json({self.to_json()!r})"

    def to_json(self) -> str:
        """Return it as one line of text."""
        document: dict[str, object] = {
            "version": VERSION,
            "partitions": [
                {
                    "topic": topic,
                    "partition": partition,
                    "offset": one.offset,
                    "leader_epoch": one.leader_epoch,
                    "stop": one.stop,
                    "truncated": one.truncated,
                }
                for (topic, partition), one in sorted(self._places.items())
            ],
        }
        if self._times is not None:
            document["range"] = {
                "clock": int(self._times.clock),
                "start_ns": timestamp_to_ns(self._times.start_time)
                if self._times.HasField("start_time")
                else None,
                "end_ns": timestamp_to_ns(self._times.end_time)
                if self._times.HasField("end_time")
                else None,
            }
        return json.dumps(document, separators=(",", ":"))

    @staticmethod
    def from_json(text: str, /) -> "Checkpoint":
        """Return what `to_json` wrote.

        Raises:
            ValueError: it is no checkpoint, or one of a newer release.
        """
        try:
            document = json.loads(text)
            version = document["version"]
        except (ValueError, TypeError, KeyError, RecursionError) as malformed:
            raise ValueError(f"not a checkpoint: {text[:80]!r}") from malformed
        if version != VERSION:
            raise ValueError(f"a checkpoint of version {version}; this release reads {VERSION}")
        try:
            places = {
                (str(one["topic"]), int(one["partition"])): _place(one)
                for one in document["partitions"]
            }
            times = document.get("range")
            return Checkpoint(places, None if times is None else _times(times))
        except (ValueError, TypeError, KeyError, OverflowError) as malformed:
            raise ValueError(f"a damaged checkpoint: {malformed!r}") from malformed


def _place(row: Mapping[str, Any]) -> Place:
    epoch, stop = row["leader_epoch"], row["stop"]
    return Place(
        int(row["offset"]),
        None if epoch is None else int(epoch),
        None if stop is None else int(stop),
        bool(row["truncated"]),
    )


def _times(row: Mapping[str, Any]) -> common.TimeRange:
    times = common.TimeRange(clock=row["clock"])
    if row["start_ns"] is not None:
        times.start_time.CopyFrom(timestamp_of_ns(row["start_ns"]))
    if row["end_ns"] is not None:
        times.end_time.CopyFrom(timestamp_of_ns(row["end_ns"]))
    return times

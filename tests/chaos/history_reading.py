"""Reading a run's files again: everybody's events in the order of their times."""

from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos.history import (
    AnyEvent,
    Ask,
    Begin,
    Commit,
    Drained,
    Fault,
    Find,
    Gave,
    HistoryError,
    Killed,
    Look,
    Lossy,
    Producer,
    Reset,
    Send,
)

CHUNK_BYTES: Final = 1 << 18
"""Read of a file at once: a file costs so much memory, however long it is."""
_BEFORE: Final = (
    Send, Begin, Ask, Find, Gave, Commit, Look, Reset, Fault, Lossy, Killed, Producer,
)  # fmt: skip
_RANKS: Final[dict[object, int]] = {**dict.fromkeys(_BEFORE, 0), Drained: 2}
"""At equal times, what is about to be done counts as earlier than what was told, and a summary as
later: nothing is ever claimed to have followed what it may have accompanied."""
_KEY: Final = itemgetter(0)
_DECODER: Final[msgspec.json.Decoder[AnyEvent]] = msgspec.json.Decoder(AnyEvent)


def read_in_order(folder: Path) -> Iterator[tuple[str, AnyEvent]]:
    """Yield every client's events in the order of their times, each with the client's name.

    Holds a chunk of each file. A last line that was cut off by a kill is left out: it was being
    written, so nothing had been sent, or nobody was told.

    Raises:
        HistoryError: a line is no event, times of a file fall back, or there is no file.
    """
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise HistoryError(f"{folder} has no file *.jsonl; name the folder of a recorded run")
    return in_order({path.stem: _read(path) for path in paths})


def in_order(histories: Mapping[str, Iterable[AnyEvent]]) -> Iterator[tuple[str, AnyEvent]]:
    """Yield the events of all clients, by name, in the order of their times.

    Raises:
        HistoryError: the times of one fall back.
    """
    streams = [_keyed(client, events) for client, events in histories.items()]
    for _, client, event in merge(*streams, key=_KEY):
        yield client, event


def _keyed(client: str, events: Iterable[AnyEvent]) -> Iterator[tuple[int, str, AnyEvent]]:
    """Yield events with the key by which they are merged with others'."""
    last = -1
    for event in events:
        if event.t < last:
            raise HistoryError(f"{client}: {event} comes after t={last}; times never fall")
        last = event.t
        yield last * 3 + _RANKS.get(type(event), 1), client, event


def _read(path: Path) -> Iterator[AnyEvent]:
    """Yield a file's events."""
    with path.open("rb") as file:
        left = b""
        while chunk := file.read(CHUNK_BYTES):
            lines, _, left = (left + chunk).rpartition(b"\n")
            if lines:
                yield from _decode(path, lines)


def _decode(path: Path, lines: bytes) -> list[AnyEvent]:
    try:
        return _DECODER.decode_lines(lines)
    except msgspec.DecodeError as broken:
        for line in lines.splitlines():
            try:
                _DECODER.decode(line)
            except msgspec.DecodeError as why:
                shown = line[:200].decode(errors="replace")
                raise HistoryError(f"{path}: {why}: {shown}") from broken
        raise HistoryError(f"{path}: {broken}") from broken

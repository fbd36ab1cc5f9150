"""The records that every client writes and every client must read, and what is compared of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple


class Told(NamedTuple):
    """One record, as a client was given it or gives it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    time_ms: int


T: Final = 1_767_225_600_000
RECORDS: Final = (
    Told(b"key", b"value", (), T),
    Told(None, b"no key", (), T + 1),
    Told(b"empty", b"", (), T + 2),
    Told(b"gone", None, (), T - 86_400_000),  # a tombstone, dated a day before its neighbours
    Told(b"headers", b"h", (("a", b"1"), ("b", b""), ("a", b"2"), ("n", None)), T + 4),
    Told("Schlüssel".encode(), bytes(range(256)), (("a", "ä".encode()),), T + 5),
    Told(b"long", b"the same again and again, " * 400, (), T + 6),
)
"""Text in keys and headers, for command lines and their output; every byte in a value."""

WITHOUT_NULL_HEADERS: Final = tuple(
    record._replace(headers=tuple(pair for pair in record.headers if pair[1] is not None))
    for record in RECORDS
)
"""For a client that refuses to write a header without a value."""

GROUPED_HEADERS: Final = tuple(
    record._replace(headers=tuple(sorted(record.headers, key=lambda pair: pair[0])))
    for record in WITHOUT_NULL_HEADERS
)
"""For a client that takes headers as a mapping: those of one name together, in their order."""

CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
PARTS: Final[Mapping[str, Callable[[Told], Any]]] = {
    "keys": lambda record: record.key,
    "null values": lambda record: record.value,
    "repeated headers": lambda record: record.headers,
    "timestamps": lambda record: record.time_ms,
}
FEATURES: Final = (*PARTS, *CODECS)


def differences(written: Sequence[Told], read: Sequence[Told], feature: str) -> list[str]:
    """Return what a reader got otherwise, record by record; of a codec's topic all of it counts."""
    part = PARTS.get(feature, _whole)
    found = [f"{len(read)} records, not {len(written)}"] if len(read) != len(written) else []
    for number, (wanted, got) in enumerate(zip(written, read, strict=False)):
        if part(wanted) != part(got):
            found.append(f"record {number}: {part(got)!r:.120}, not {part(wanted)!r:.120}")
    return found


def _whole(record: Told) -> Any:
    return record

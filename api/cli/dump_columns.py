"""What a row of each kind of file has: the schema of `tidelog dump`, whose rows differ.

A row has those fields that apply to it, and `fault` only where it does not parse.
"""

from typing import Final

from tidelog.cli.output import Column, Kind

_FAULT: Final = Column("fault", about="Only where it does not parse: why.")
_POSITION: Final = Column("position", Kind.INTEGER, about="In the file, bytes.")
_SIZE: Final = Column("size_bytes", Kind.BYTES)

SEGMENT: Final = (
    _POSITION,
    _SIZE,
    Column("base_offset", Kind.INTEGER),
    Column("last_offset", Kind.INTEGER),
    Column("records", Kind.INTEGER),
    Column("leader_epoch", Kind.INTEGER),
    Column("compression"),
    Column("log_append_time", Kind.BOOLEAN),
    Column("control", Kind.BOOLEAN),
    Column("max_timestamp_ms", Kind.INTEGER),
    Column("producer_id", Kind.INTEGER),
    Column("producer_epoch", Kind.INTEGER),
    Column("base_sequence", Kind.INTEGER),
    Column("crc32c", about="Hexadecimal."),
    Column("offset", Kind.INTEGER, about="With --records, of a record; likewise what follows."),
    Column("timestamp_ms", Kind.INTEGER),
    Column("key", about="What is not UTF-8 is escaped."),
    Column("value", about="What is not UTF-8 is escaped."),
    Column("headers", Kind.INTEGER, about="How many."),
    _FAULT,
)
INDEX: Final = (
    Column("offset", Kind.INTEGER),
    _POSITION,
    Column("end", Kind.INTEGER),
    Column("earliest_ms", Kind.MIXED, about="Event time; none, or unknown."),
    Column("latest_ms", Kind.MIXED, about="Event time; none, or unknown."),
    _FAULT,
)
TIMES: Final = (
    Column("offset", Kind.INTEGER),
    Column("leader_epoch", Kind.INTEGER),
    Column("append_time_ms", Kind.INTEGER),
    Column("row", Kind.INTEGER, about="Beside a fault: which one."),
    _FAULT,
)
JOURNAL: Final = (
    _POSITION,
    Column("kind", about="header, append, append_direct, truncate, delete, clock."),
    _SIZE,
    Column("first_sequence", Kind.INTEGER),
    Column("salt", about="Hexadecimal."),
    Column("sequence", Kind.INTEGER),
    Column("synced", Kind.INTEGER),
    Column("batch_bytes", Kind.BYTES),
    Column("topic_id", about="Hexadecimal."),
    Column("partition", Kind.INTEGER),
    Column("base_offset", Kind.INTEGER),
    Column("segment", Kind.INTEGER),
    Column("segment_position", Kind.INTEGER),
    Column("leader_epoch", Kind.INTEGER),
    Column("append_time_ms", Kind.INTEGER),
    Column("offset", Kind.INTEGER),
    Column("until_ms", Kind.INTEGER),
    _FAULT,
)
STATE: Final = (
    Column("type", about="snapshot: the head; else that of a record, whose own fields follow."),
    Column("topic_id", about="Of the head, hexadecimal."),
    Column("offset", Kind.INTEGER),
    Column("records", Kind.INTEGER, about="Of the head: how many."),
    _FAULT,
)

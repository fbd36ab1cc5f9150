"""What Produce (key 0) is answered: a row for each batch. By hand, as the request.

Error text from v8 (KIP-467), who leads what was refused from v10 (`current_leader`), topic ids from
v13 (KIP-516).
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final, TypeAlias

from api.broker.acks import Produced
from api.errors import KafkaContext, KafkaOnly, kafka_number
from api.kafka.current_leader import PRODUCE_TAG, CurrentLeader, endpoint_tags, leader_tags
from api.kafka.frame import COMPACT, FIXED, I32
from model.errors import ErrorCode, RequestError

TIME_FROM, LOG_START_FROM, TEXT_FROM, FLEXIBLE_FROM, TOPIC_ID_FROM = 2, 5, 8, 9, 13
UNKNOWN: Final = -1
CHECKSUM: Final = "checksum"
"""Stands in the metadata of a CORRUPT_BATCH that may have been damaged on its way."""
NOT_THROTTLED: Final = I32.pack(0)

Records: TypeAlias = memoryview | None
Topic: TypeAlias = tuple[bytes, list[tuple[int, Records]]]
"""Name or id, and what goes to which partition."""

# Rows: partition, error code, base offset; append time (v2+); log start (v5+); record errors and
# error text (v8+), for a success both absent: that part is constant.
ROW_0: Final = Struct(">ihq")
ROW_2: Final = Struct(">ihqq")
ROW_5: Final = Struct(">ihqqq")
NO_TEXT_FIXED: Final = I32.pack(0) + b"\xff\xff"
NO_TEXT_COMPACT: Final = b"\x01\x00\x00"  # no record errors, null, no tagged fields


def write_success(version: int, number: int, produced: Produced) -> bytes:
    """Return the row of a batch that is in the log."""
    base = -1 if produced.base_offset is None else produced.base_offset
    time = -1
    if produced.log_append_time and produced.append_time is not None:
        time = produced.append_time
    if version >= FLEXIBLE_FROM:
        return ROW_5.pack(number, 0, base, time, produced.log_start) + NO_TEXT_COMPACT
    if version >= LOG_START_FROM:
        row = ROW_5.pack(number, 0, base, time, produced.log_start)
        return row + NO_TEXT_FIXED if version >= TEXT_FROM else row
    return (
        ROW_2.pack(number, 0, base, time) if version >= TIME_FROM else ROW_0.pack(number, 0, base)
    )


def wants_log_start(refusal: RequestError | KafkaOnly) -> bool:
    """Tell whether a refusal says where the log starts: Java's producer else asks again for ever.

    By it the client sees whether its last batch was deleted, and begins a new epoch (KIP-360).
    """
    return isinstance(refusal, RequestError) and refusal.code is ErrorCode.UNKNOWN_PRODUCER_ID


def write_refusal(
    version: int,
    number: int,
    refusal: RequestError | KafkaOnly,
    *,
    log_start: int = UNKNOWN,
    leader: CurrentLeader | None = None,
) -> bytes:
    """Return the row of a batch that is not in the log, or not known to be."""
    code, text = _spelled(version, refusal)
    if version >= FLEXIBLE_FROM:
        row = ROW_5.pack(number, code, UNKNOWN, UNKNOWN, log_start)
        return row + b"\x01" + COMPACT.write_text(text) + leader_tags(leader, PRODUCE_TAG)
    if version >= LOG_START_FROM:
        row = ROW_5.pack(number, code, UNKNOWN, UNKNOWN, log_start)
        return row + I32.pack(0) + FIXED.write_text(text) if version >= TEXT_FROM else row
    if version >= TIME_FROM:
        return ROW_2.pack(number, code, UNKNOWN, UNKNOWN)
    return ROW_0.pack(number, code, UNKNOWN)


def _spelled(version: int, refusal: RequestError | KafkaOnly) -> tuple[int, str]:
    if isinstance(refusal, KafkaOnly):
        return int(refusal), refusal.name
    if refusal.code is ErrorCode.UNKNOWN_TOPIC and version >= TOPIC_ID_FROM:
        return kafka_number(refusal.code, KafkaContext.TOPIC_ID), refusal.detail
    if refusal.code is ErrorCode.CORRUPT_BATCH and CHECKSUM not in refusal.metadata:
        # Its lengths contradict each other, and will when it is sent again: 2 is retried, 87 not.
        return int(KafkaOnly.INVALID_RECORD), refusal.detail
    if refusal.code is ErrorCode.PRODUCER_FENCED:  # Produce kept the number, KIP-588 or not
        return kafka_number(refusal.code, KafkaContext.OLD_VERSION), refusal.detail
    return kafka_number(refusal.code, KafkaContext.PRODUCE_OR_FETCH), refusal.detail


def write_response(
    version: int,
    topics: Sequence[Topic],
    rows: Sequence[bytes],
    *,
    leaders: Sequence[CurrentLeader] = (),
) -> bytes:
    """Return the body of an answer: one row for each partition, in the order of the request.

    `leaders`: who is named in the rows, from v10.
    """
    spelling = COMPACT if version >= FLEXIBLE_FROM else FIXED
    write_count, tags = spelling.write_count, spelling.tags
    out = [write_count(len(topics))]
    slot = 0
    for topic, parts in topics:
        out.append(topic if version >= TOPIC_ID_FROM else spelling.write_name(topic))
        count = len(parts)
        out.append(write_count(count))
        out += rows[slot : slot + count]
        out.append(tags)
        slot += count
    if version >= 1:
        out.append(NOT_THROTTLED)
    out.append(endpoint_tags(leaders) if leaders else tags)
    return b"".join(out)

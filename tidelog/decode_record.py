"""A record as a program gets it: what has come of it, through the program's codecs."""

from tidelog.codecs import Codec
from tidelog.steps import Raw
from tidelog.types import K, Record, V


def decode_record(raw: Raw, *, key: Codec[K], value: Codec[V], replay: str | None) -> Record[K, V]:
    """Return it. `replay`: the id of the replay that hands it out; None: a consumer does.

    Raises:
        Exception: whatever a codec raises, with a note of where the record lies.
    """
    topic, partition = raw.at
    try:
        decoded_key = None if raw.key is None else key.decode(raw.key)
        decoded = None if raw.value is None else value.decode(raw.value)
    except Exception as undecodable:
        undecodable.add_note(f"in {topic}/{partition} at offset {raw.offset}")
        raise
    return Record(
        topic, partition, raw.offset, raw.timestamp_ms, raw.append_time_ms, decoded_key, decoded,
        raw.headers, raw.leader_epoch, replay, raw.batch,
    )  # fmt: skip

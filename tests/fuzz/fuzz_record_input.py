"""Any bytes as the input of `produce`, by a format string or as JSON lines; the first byte chooses.

Also as the text of an SDK checkpoint, which programs keep wherever they like.
"""

from contextlib import suppress
from io import BytesIO
from typing import Final

from tidelog.checkpoint import Checkpoint, Place
from tidelog.cli.format_verbs import FormatError
from tidelog.cli.record import RecordInputError
from tidelog.cli.record_input import records_of
from tidelog.v1 import common_pb2

FORMS: Final = (
    r"%k %v\n", r"%K{big32}%k%V{big32}%v", r"%K %k%V %v\n", r"%t:%p:%d:%k{hex}:%v{base64}\n",
    r"%H{big16}%h{%K{big16}%k%V{big16}%v}%v\n", r"%v{json}\n", "json", "value",
)  # fmt: skip
READS: Final = 16
"""A line may be empty and is a record then: one byte costs what a whole record does, some 5 us."""
_JSON: Final = FORMS.index("json")


def samples() -> list[bytes]:
    """Return input for each format, and a checkpoint."""
    inputs = (
        b"key value\nk2 v2\n", b"\0\0\0\x03key\0\0\0\x05value", b"3 key5 value\n",
        b"orders:3:1700000000000:6b6579:dmFsdWU=\n", b"\0\x01\0\x01k\0\x02vvvalue\n", b'"text"\n',
        b'{"key":"k","value":{"base64":"AAE="},"headers":[["h","1"]],"timestamp_ms":17}\n', b"v\n",
    )  # fmt: skip
    times = common_pb2.TimeRange(clock=common_pb2.CLOCK_EVENT)
    times.start_time.seconds = 1_700_000_000
    kept = Checkpoint({("orders", 0): Place(42, 3, 99, truncated=True)}, times).to_json().encode()
    return [*(bytes([number]) + text for number, text in enumerate(inputs)), bytes([_JSON]) + kept]


def fuzz(data: bytes) -> None:
    """Read the input."""
    if not data:
        return
    with suppress(FormatError, RecordInputError):
        list(records_of(BytesIO(data[1:]), FORMS[data[0] % len(FORMS)]))
    with suppress(ValueError):
        text = data[1:].decode(errors="replace")
        kept = Checkpoint.from_json(text)
        assert Checkpoint.from_json(kept.to_json()) == kept, "not what was read"

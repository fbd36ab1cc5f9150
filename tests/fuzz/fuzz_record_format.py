"""Any text as a format string for records: printed by it, and what was printed read by it again."""

from contextlib import suppress
from io import BytesIO
from typing import Final

from tidelog.cli.format_verbs import FormatError
from tidelog.cli.record import RecordInputError, ShownRecord
from tidelog.cli.record_format import RecordFormat
from tidelog.cli.record_input import records_of

READS: Final = 4
"""A format is taken apart twice, printed by and read by; a verb has two bytes, and costs most."""
RECORD: Final = ShownRecord(
    topic="orders",
    partition=3,
    offset=42,
    timestamp_ms=1_700_000_000_123,
    append_time_ms=1_700_000_000_200,
    key=b"k\0\xff",
    value=None,
    headers=((b"trace", b"1"), (b"trace", None)),
    leader_epoch=2,
)
FOREVER: Final = ShownRecord(
    topic="t",
    partition=0,
    offset=(1 << 63) - 1,
    timestamp_ms=(1 << 63) - 1,
    append_time_ms=-(1 << 63),
    key=None,
    value=b"v" * 300,
)


def samples() -> list[bytes]:
    """Return formats with every verb and modifier."""
    forms = (
        r"%p %o %k %v\n", r"%K{big32}%k%V{little64}%v", r"%t\t%h{%k=%v{hex},}%H\n", r"%%\x00%d\r\n",
        r"%d{strftime[%Y-%m-%dT%H:%M:%SZ]} %A{hex64}\n", r"%k{base64} %v{json}\n", r"%i %x %y %e\n",
        r"%v{unpack[>iq]}\n", r"%[ %| %] %a{compression}\n", "json", "json-pretty", "text", "value",
        r"%T{hex8}%t%V{big16}%v", r"%h{%K{big16}%k%V{big16}%v}",
    )  # fmt: skip
    return [form.encode() for form in forms]


def fuzz(data: bytes) -> None:
    """Print two records by the format, and read what was printed."""
    form = data.decode(errors="surrogateescape")  # as arguments come
    with suppress(FormatError, RecordInputError):
        list(records_of(BytesIO(_printed(form)), form))


def expanded_bytes(data: bytes) -> int:
    """Return how much is printed: two bytes of a format may mean a whole value."""
    try:
        return len(_printed(data.decode(errors="surrogateescape")))
    except FormatError:
        return 0


def _printed(form: str) -> bytes:
    show = RecordFormat(form)
    return show(RECORD) + show(FOREVER)

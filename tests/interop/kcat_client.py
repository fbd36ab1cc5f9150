"""kcat, an old librdkafka for the command line: Debian's package."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.interop.client import Client, Target, said
from tests.interop.sample import Told
from tests.kill.node_process import Doors


async def write(doors: Doors, target: Target, records: Sequence[Told]) -> None:
    """Write one record a call: a file's content is the value."""
    topic, codec = target
    with TemporaryDirectory() as folder:
        content = Path(folder) / "value"
        for record in records:
            content.write_bytes(record.value or b"")
            arguments = ["-P", "-t", topic, "-p", "0", "-X", f"compression.type={codec}"]
            if record.value is None:
                arguments.append("-Z")
            for name, value in record.headers:
                text = name if value is None else f"{name}={value.decode()}"
                arguments += ["-H", text]
            if record.value:
                key = [] if record.key is None else ["-k", record.key.decode()]
                await _kcat(doors, *arguments, *key, str(content))
            else:  # an empty file is passed over, a line with nothing behind its key is not
                line = (record.key or b"") + b":\n"
                await _kcat(doors, *arguments, "-K", ":", stdin=line)


async def read(doors: Doors, topic: str, count: int) -> list[Told]:
    """Read to the end: lengths first, so that every byte can be in a value."""
    del count
    form = "%T %K %S %k%s%h\n"
    out = await _kcat(doors, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-f", form)
    found: list[Told] = []
    at = 0
    while at < len(out):
        time_ms, key_size, value_size, _ = out[at:].split(b" ", 3)
        at += sum(map(len, (time_ms, key_size, value_size))) + 3
        key, at = _taken(out, at, int(key_size))
        value, at = _taken(out, at, int(value_size))
        end = out.index(b"\n", at)
        found.append(Told(key, value, _headers(out[at:end]), int(time_ms)))
        at = end + 1
    return found


def _taken(out: bytes, at: int, size: int) -> tuple[bytes | None, int]:
    return (None, at) if size < 0 else (out[at : at + size], at + size)


def _headers(line: bytes) -> tuple[tuple[str, bytes | None], ...]:
    """Return the headers of `a=1,n=NULL`; the sample has no text that this would mistake."""
    pairs = (pair.partition(b"=") for pair in line.split(b",") if pair)
    return tuple((name.decode(), None if text == b"NULL" else text) for name, _, text in pairs)


async def _kcat(doors: Doors, *arguments: str, stdin: bytes = b"") -> bytes:
    return await said(["kcat", "-q", "-b", doors.kafka, *arguments], stdin=stdin)


KCAT = Client(write, read, dates=False)

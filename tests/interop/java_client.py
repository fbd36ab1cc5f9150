"""Apache's Java client, through the small program `java/JavaClient.java`."""

from collections.abc import Sequence
from typing import Final

from tests.interop.client import Client, Target, said
from tests.interop.fetched import java_classes
from tests.interop.sample import Told
from tests.interop.told_lines import read_lines, write_lines
from tests.kill.node_process import Doors

JAVA: Final = ("java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""For a program that lives for a second."""


async def write(doors: Doors, target: Target, records: Sequence[Told]) -> None:
    """Write idempotently, as it does by default."""
    topic, codec = target
    await _java("write", doors.kafka, topic, codec, stdin=write_lines(records))


async def read(doors: Doors, topic: str, count: int) -> list[Told]:
    """Read without a group."""
    return read_lines(await _java("read", doors.kafka, topic, str(count)))


async def _java(*arguments: str, stdin: bytes = b"") -> bytes:
    return await said([*JAVA, "-cp", java_classes(), "JavaClient", *arguments], stdin=stdin)


APACHE_JAVA = Client(write, read)

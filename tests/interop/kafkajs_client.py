"""kafkajs, through the small program `kafkajs/write.cjs`. It reads only as a member of a group."""

from collections.abc import Sequence
from typing import Final

from tests.interop.client import Client, Target, said
from tests.interop.fetched import KAFKAJS as FOLDER
from tests.interop.fetched import node_modules
from tests.interop.sample import GROUPED_HEADERS, Told
from tests.interop.told_lines import write_lines
from tests.kill.node_process import Doors

WRITER: Final = FOLDER / "write.cjs"


async def write(doors: Doors, target: Target, records: Sequence[Told]) -> None:
    """Write one batch."""
    topic, codec = target
    await said(
        ["node", str(WRITER), doors.kafka, topic, codec],
        stdin=write_lines(records),
        environment={"NODE_PATH": str(node_modules())},
    )


KAFKAJS = Client(write, None, sample=GROUPED_HEADERS)

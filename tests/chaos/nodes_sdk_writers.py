"""A process of idempotent producers of the SDK; see `nodes_client.py`.

A producer that cannot go on is followed by another one: what it could not say is unknown.
"""

import asyncio
import sys
from collections.abc import Awaitable
from threading import Event
from typing import Final

from tests.chaos.history import Closed, History
from tests.chaos.nodes_client import Orders, Pace, histories, orders, tell, until_told
from tests.chaos.nodes_plan import TOPIC, VALUE_BYTES, WRITER, WRITERS
from tests.chaos.recorder_sdk import RecordedProducer
from tidelog.client import Client, connect
from tidelog.errors import TidelogError
from tidelog.types import Ack

TICK_S: Final = 0.01


async def write(client: Client, history: History, *, rate: float, over: Event) -> None:
    """Send until it is over, and wait for all answers.

    Raises:
        TidelogError: the producer cannot go on.
    """
    async with client.producer() as producer, asyncio.TaskGroup() as answers:
        writer = RecordedProducer(producer, history, acks="all", idempotent=True)
        pace = Pace(rate)
        while not over.is_set():
            for partition in pace.due():
                ticket = await writer.enqueue(TOPIC, partition, size_bytes=VALUE_BYTES)
                answers.create_task(_answered(ticket))
            await asyncio.sleep(TICK_S)
    writer.close()


async def _answered(ticket: Awaitable[Ack]) -> None:
    try:
        await ticket
    except TidelogError as error:
        tell(f"a value: {type(error).__name__}: {error}")


async def keep_writing(told: Orders, name: str, over: Event) -> None:
    """Write, whatever happens."""
    for history in histories(told.folder, name):
        try:
            async with connect(told.address, client_id=history.client) as client:
                await write(client, history, rate=told.rate, over=over)
                return
        except* TidelogError as errors:
            for error in errors.exceptions:
                tell(f"{history.client} begins anew: {type(error).__name__}: {error}")
            history.note(Closed(history.clock()))


async def main(told: Orders) -> None:
    """Run all producers."""
    over = until_told()
    async with asyncio.TaskGroup() as tasks:
        for number in range(1, WRITERS + 1):
            tasks.create_task(keep_writing(told, f"{WRITER}sdk-{number}", over))


if __name__ == "__main__":
    asyncio.run(main(orders(sys.argv[1:])))

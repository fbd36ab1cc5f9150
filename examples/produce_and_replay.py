"""Write a day of orders and replay exactly one hour of it: `python examples/produce_and_replay.py`.

Needs a node: `tidelog dev`.
"""

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import tidelog

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Order:
    """What a customer has ordered, and when."""

    id: str
    total: float
    minute: int


async def main(url: str) -> float:
    """Return what was ordered between nine and ten in the morning."""
    async with tidelog.connect(url) as client:
        await client.topics.create("orders", partitions=6, exist_ok=True)
        async with client.producer(key=tidelog.UTF8, value=tidelog.json(Order)) as producer:
            day = (Order(f"o-{minute}", 1.5, minute) for minute in range(24 * 60))
            acks = await producer.send_many(
                "orders",
                day,
                key=lambda order: order.id,
                timestamp=lambda order: MIDNIGHT + timedelta(minutes=order.minute),
            )
        print(f"{len(acks)} orders are on disk")

        nine = MIDNIGHT + timedelta(hours=9)
        hour = tidelog.TimeRange(nine, nine + timedelta(hours=1))
        total = 0.0
        async with client.replay("orders", during=hour, value=tidelog.json(Order)) as history:
            async for record in history:
                total += record.value.total if record.value else 0
        print(f"from nine to ten: {total}")
        return total


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tidelog://localhost:9095"))

"""Read what came in lately, then go on live, and know which is which.

Needs a node (`tidelog dev`) and a topic that is written to.
"""

import asyncio
import sys
from datetime import timedelta

import tidelog


async def main(url: str, topic: str, *, stop_after: int | None = None) -> list[str]:
    """Print each record with "history" or "live" before it; return the lines."""
    lines: list[str] = []
    async with tidelog.connect(url) as client:
        two_hours = timedelta(hours=2)
        async with client.replay(topic, start=two_hours, clock="append") as events:
            async for record in events:
                when = "live" if events.caught_up else "history"
                lines.append(f"{when} {record.partition}@{record.offset} {record.value!r}")
                print(lines[-1])
                if len(lines) == stop_after:
                    break
    return lines


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "tidelog://localhost:9095"
    asyncio.run(main(address, "orders"))

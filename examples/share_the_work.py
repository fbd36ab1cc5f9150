"""Share a topic between the members of a group; what one has finished no other one gets.

Start it twice, stop one, and the other one takes over where it was. Needs a node: `tidelog dev`.
"""

import asyncio
import sys
from datetime import timedelta

import tidelog


async def main(url: str, group: str = "mail", stop_after: int | None = None) -> list[str]:
    """Work on jobs until there were enough, and return them; then send the group back an hour."""
    done: list[str] = []
    async with tidelog.connect(url) as client:
        await client.topics.create("jobs", partitions=4, exist_ok=True)
        async with client.consumer("jobs", group=group, value=tidelog.UTF8) as jobs:
            async for job in jobs:  # a job is finished when the next one is asked for
                print(f"{job.topic}/{job.partition}@{job.offset} {job.value}")
                done.append(job.value or "")
                if len(done) == stop_after:
                    await jobs.commit(job)  # this one too: there will be no next one
                    break
        plan = await client.groups.seek(group, timedelta(hours=1), clock="append", dry_run=True)
        again = sum(change.redelivered for change in plan.changes)
        print(f"an hour ago: {again} jobs would come again")
    return done


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tidelog://localhost:9095"))

"""A node of its own process that commits offsets without end, to be killed while it does.

Called with a directory; prints `<group> <offset>` for each commit that was acknowledged.
"""

import asyncio
import sys
from pathlib import Path

from tests.group_state import commit, committed
from tests.one_node import one_node

GROUPS = tuple(f"group-{number}" for number in range(10))
SETTINGS = ("cluster.state_snapshot_records=40",)


async def run(directory: Path) -> None:
    async with one_node(directory, *SETTINGS) as one:
        state = one.node.broker.groups_state

        async def count(group: str) -> None:
            offset = await committed(state, group) or 0
            while True:
                offset += 1
                await commit(state, group, offset)
                sys.stdout.write(f"{group} {offset}\n")
                sys.stdout.flush()

        await asyncio.gather(*map(count, GROUPS))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))

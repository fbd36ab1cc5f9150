"""Keep a table of totals that goes on at the exact record after a crash.

The checkpoint is saved together with the table, in one file that is replaced whole: so the table
never has a record twice, nor misses one. Needs a node: `tidelog dev`.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import tidelog


class Totals:
    """How much each customer has ordered, and up to where the log was read for it."""

    def __init__(self, file: Path) -> None:
        """Read what was saved last."""
        self.file = file
        saved = json.loads(file.read_text()) if file.exists() else {"table": {}, "at": None}
        self.table: dict[str, float] = saved["table"]
        self.at = tidelog.Checkpoint.from_json(saved["at"]) if saved["at"] else None

    def save(self, at: tidelog.Checkpoint) -> None:
        """Replace the file: either all of it is new, or nothing."""
        scratch = self.file.with_suffix(".new")
        with scratch.open("w") as new:
            json.dump({"table": self.table, "at": at.to_json()}, new)
            new.flush()
            os.fsync(new.fileno())  # else a power cut may leave a new name on nothing
        os.replace(scratch, self.file)


async def main(url: str, file: Path, save_every: int = 100) -> dict[str, float]:
    """Bring the table up to the end of the log as it is now, and return it."""
    totals = Totals(file)
    async with tidelog.connect(url) as client:
        async with client.replay(
            "payments",
            stop="latest",
            resume=totals.at,
            key=tidelog.UTF8,
            value=tidelog.json(float),
        ) as history:
            read = 0
            async for record in history:
                customer = record.key or "nobody"
                totals.table[customer] = totals.table.get(customer, 0.0) + (record.value or 0.0)
                read += 1
                if read % save_every == 0:
                    totals.save(history.checkpoint())
            totals.save(history.checkpoint())
    print(f"read {read} payments, {len(totals.table)} customers")
    return totals.table


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "tidelog://localhost:9095"
    asyncio.run(main(address, Path("totals.json")))

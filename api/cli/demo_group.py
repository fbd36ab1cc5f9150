"""The demo's group: two members, one of them killed, and the group sent back by time while it runs.

What has to come is known before: every offset between two places of each partition. What came is
held against it, record by record.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import tidelog

GROUP: Final = "departures"
TAIL: Final = 5_000
"""Records of each partition that the group begins with, from the end."""
KILLED_AFTER: Final = 1_000
"""Records that the member gets which is killed."""
SLOW_S: Final = 0.1
"""Per record, from then on."""
PATIENCE_S: Final = 120.0

Spot = tuple[int, int]
"""Partition and offset."""


@dataclass(slots=True)
class GroupStory:
    """What the group does, step by step."""

    url: str
    topic: str
    say: Callable[[str], Any]
    now: Callable[[], float]
    """Seconds, on the loop's clock."""
    tail: int = TAIL
    killed_after: int = KILLED_AFTER
    patience_s: float = PATIENCE_S
    halfway: asyncio.Event = field(default_factory=asyncio.Event)
    """The member that is killed has records in hand."""
    shared: asyncio.Event = field(default_factory=asyncio.Event)
    """The other one has some too."""
    killed: Counter[Spot] = field(default_factory=Counter)
    """What the member got that was killed, and how often."""
    survived: Counter[Spot] = field(default_factory=Counter)
    """What the other one got."""
    came: set[Spot] = field(default_factory=set)
    """What one of them got."""

    async def tell(self, back_to: datetime) -> bool:
        """Share, kill, send back to an append time, catch up; false if anything is wrong."""
        try:
            async with asyncio.timeout(self.patience_s), tidelog.connect(self.url) as client:
                return await self._tell(client, back_to)
        except TimeoutError:
            came = f"{len(self.came)} records came"
            self.say(f"demo: group {GROUP}: NOT done in {self.patience_s:g} s, {came}\n")
            return False

    async def _tell(self, client: tidelog.Client, back_to: datetime) -> bool:
        wanted = await self._begin(client)
        async with asyncio.TaskGroup() as members:
            members.create_task(self._be_killed())
            await self.halfway.wait()
            async with client.consumer(self.topic, group=GROUP, commit="auto") as survivor:
                shared = await self._share(survivor, wanted)
                again = await self._send_back(client, survivor, back_to, wanted=wanted)
        lag = sum(row.lag or 0 for row in await client.groups.offsets(GROUP))
        verdict = "has caught up" if lag == 0 else "has NOT caught up"
        self.say(f"demo: group {GROUP} {verdict}: lag {lag}\n")
        return shared and again and lag == 0

    async def _begin(self, client: tidelog.Client) -> set[Spot]:
        """Put the group where it begins; return everything that has to come."""
        ends = await client.topics.resolve(self.topic, "latest")
        begins = {
            at.partition.partition: max(at.log_start_offset, at.high_watermark - self.tail)
            for at in ends
        }
        await client.groups.commit(
            GROUP, *(tidelog.Cursor(self.topic, number, begin) for number, begin in begins.items())
        )
        return {
            (at.partition.partition, offset)
            for at in ends
            for offset in range(begins[at.partition.partition], at.high_watermark)
        }

    async def _share(self, survivor: tidelog.Consumer[bytes, bytes], wanted: set[Spot]) -> bool:
        """Read with two members, of which one is killed, until everything has come."""
        began, lasts = self.now(), set(_ends(wanted).items())
        while len(self.came) < len(wanted) or not lasts <= self.survived.keys():
            self._note(self.survived, await anext(survivor))
            self.shared.set()
        twice = self.killed & self.survived
        taken, all_of_them = len(survivor.assignment), len({number for number, _ in wanted})
        # No member gets anything twice; the other one gets what was in the killed one's hands.
        right = (
            self.came == wanted
            and max(self.killed.values()) == max(self.survived.values()) == 1
            and taken == all_of_them
        )
        self.say(
            f"demo: group {GROUP}: two members, one killed: {'' if right else 'NOT '}all "
            f"{len(wanted)} records came, {twice.total()} of them twice; the other member has "
            f"taken over {taken} of {all_of_them} partitions: {self.now() - began:.1f} s\n"
        )
        return right

    async def _be_killed(self) -> None:
        """Be a member until the connection is gone, without a word to the group.

        From some record on it works slowly, until the other one has something too: that may be the
        very partition of the record in hand, which is handed over once the body is done with it.
        """
        client = tidelog.connect(self.url, client_id="killed")
        count = 0
        try:
            async with client.consumer(self.topic, group=GROUP) as consumer:
                async for record in consumer:
                    self._note(self.killed, record)
                    count += 1
                    if count < self.killed_after:
                        continue
                    self.halfway.set()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(SLOW_S):
                            await self.shared.wait()
                    if self.shared.is_set():
                        await client.connection.close()
                        return
        except tidelog.ConnectError:
            return  # as meant

    async def _send_back(
        self,
        client: tidelog.Client,
        consumer: tidelog.Consumer[bytes, bytes],
        back_to: datetime,
        *,
        wanted: set[Spot],
    ) -> bool:
        """Send the live group back, and read on until what the plan said has come again."""
        await consumer.commit()
        plan = await client.groups.seek(GROUP, back_to, clock="append", force=True)
        after = {change.partition.partition: change.after for change in plan.changes}
        again = {(p, o) for p, last in _ends(wanted).items() for o in range(after[p], last + 1)}
        self.survived.clear()
        began = self.now()
        while len(self.survived) < len(again):
            self._note(self.survived, await anext(consumer))
        planned = sum(change.redelivered for change in plan.changes)
        exact = 0 < planned == len(again) == self.survived.total() and again == {*self.survived}
        self.say(
            f"demo: the live group sent back to {back_to:%H:%M:%S} by append time: {len(again)} "
            f"records again, {'exactly' if exact else 'NOT'} the plan: "
            f"{self.now() - began:.1f} s\n"
        )
        return exact

    def _note(self, got: Counter[Spot], record: tidelog.Record[bytes, bytes]) -> None:
        spot = (record.partition, record.offset)
        got[spot] += 1
        self.came.add(spot)


def _ends(wanted: set[Spot]) -> dict[int, int]:
    """Return the last offset of each partition."""
    ends: dict[int, int] = {}
    for number, offset in wanted:
        ends[number] = max(ends.get(number, 0), offset)
    return ends

"""A group whose coordinator is killed: `python -m tests.cluster.group_story [--kills 20] [--keep]`.

Three processes; a producer that never stops, and one consumer of the SDK at each node, which
commits what it has finished. The node that coordinates the group is killed (SIGKILL) and started
again, over and over. After each kill every acknowledged commit is there, and members go on with the
partitions that it had; at the end each acknowledged record was handed out.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import tidelog
from tests.cluster.processes import Processes
from tests.cluster.sdk_loads import SdkLoad
from tests.cluster.sdk_readers import Book
from tests.cluster.telling import parser_of, say, told
from tests.cluster.waiting import PATIENCE_S, Broken, NotInTime, holds
from tidelog.errors import TidelogError

TOPIC: Final = "orders"
GROUP: Final = "billing"
PARTITIONS: Final = 6
MEMBERS: Final = 3
RECORDS: Final = 50
"""Taken by each member before the next blow."""
COMMIT_EVERY: Final = 10


@dataclass(slots=True, eq=False)
class Place:
    """One member as the story sees it."""

    name: str
    taken: int = 0
    last_s: float = 0.0
    """When it was handed a record last."""
    pause_s: float = 0.0
    """The longest time without one since it was asked last."""
    owns: frozenset[int] = frozenset()
    assigned: int = 0
    """How often it was given partitions."""


class Story:
    """See the module."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Begin in a folder that is empty."""
        self.nodes = Processes(folder)
        self._load = SdkLoad(self.nodes.url(), TOPIC, partitions=PARTITIONS)
        self.problems: list[str] = []
        self.pauses: list[float] = []
        self._say = say
        self._book = Book()
        self._places = [Place(f"member-{number}") for number in range(MEMBERS)]

    async def tell(self, kills: int) -> list[str]:
        """Tell all of it; return what went wrong."""
        try:
            await asyncio.to_thread(self.nodes.start)
            async with tidelog.connect(self.nodes.url()) as client:
                await client.topics.create(TOPIC, partitions=PARTITIONS)
                async with self._load.running(), asyncio.TaskGroup() as tasks:
                    running = []
                    for place, node in zip(self._places, self.nodes.nodes.values(), strict=True):
                        consuming = self._consume(place, first=node.doors.grpc)
                        running.append(tasks.create_task(consuming))
                    await self._blows(client, kills)
                    for task in running:
                        task.cancel()
        except* (Broken, TidelogError) as broken:
            self.problems += [f"{type(one).__name__}: {one}" for one in broken.exceptions]
        finally:
            self.nodes.close()
        return self.problems

    async def _blows(self, client: tidelog.Client, kills: int) -> None:
        await self._until(lambda: all(len(one.owns) == 2 for one in self._places), "a fair share")
        for number in range(kills):
            await self._go_on(f"before kill {number}")
            await self._blow(client, number)
        await self._go_on("at the end")
        await self._load.finish()
        acknowledged = self._load.acknowledged
        await self._until(
            lambda: not self._book.missing(acknowledged), "all that was acknowledged is handed out"
        )
        await self._judge(client)

    async def _blow(self, client: tidelog.Client, number: int) -> None:
        """Kill the coordinator, and see what becomes of commits and members."""
        victim = (await client.groups.get(GROUP)).coordinator
        assert victim is not None
        held = [(one.owns, one.assigned) for one in self._places]
        for one in self._places:
            one.pause_s = 0.0
        await asyncio.to_thread(self.nodes.nodes[victim].kill)
        acked = dict(self._book.committed)
        await self._go_on(f"after kill {number}")
        pause = max(one.pause_s for one in self._places)
        self.pauses.append(pause)
        kept = held == [(one.owns, one.assigned) for one in self._places]
        self._say(
            f"killed {victim}: no member waited for longer than {pause:.1f} s, "
            f"{'all kept theirs' if kept else 'partitions were assigned anew'}"
        )
        await self._no_commit_is_lost(client, acked, f"kill {number}")
        await asyncio.to_thread(self.nodes.start, [victim])
        await self._healthy(client)

    async def _no_commit_is_lost(
        self, client: tidelog.Client, acked: dict[int, int], where: str
    ) -> None:
        rows = await client.groups.offsets(GROUP)
        known = {row.partition.partition: row.committed for row in rows}
        for partition, offset in acked.items():
            found = known.get(partition)
            if found is None or found.offset < offset:
                self.problems.append(f"{where}: {partition} was committed at {offset}: {found}")

    async def _healthy(self, client: tidelog.Client) -> None:
        """Wait until every partition has all its replicas in sync again."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (await client.cluster.get()).status != "healthy":  # noqa: ASYNC110 - nodes tell of it only if asked
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise NotInTime("the cluster calls itself healthy again") from None

    async def _go_on(self, where: str) -> None:
        """Wait until every member has taken so many records more."""
        before = [one.taken for one in self._places]
        await self._until(
            lambda: all(
                one.taken >= was + RECORDS for one, was in zip(self._places, before, strict=True)
            ),
            where,
        )

    async def _until(self, look: Callable[[], bool], where: str) -> None:
        await holds(look, lambda: f"{where}: {self._places}")

    # What clients do.

    async def _consume(self, place: Place, *, first: str) -> None:
        """Be a member; connected to a node of its own at first, and then to any."""
        others = [one.doors.grpc for one in self.nodes.nodes.values() if one.doors.grpc != first]
        url = "tidelog://" + ",".join([first, *others])

        async def assigned(consumer: tidelog.Consumer[bytes, bytes], _: object) -> None:
            place.assigned += 1
            place.owns = frozenset(one.partition for one in consumer.assignment)

        async with (
            tidelog.connect(url, client_id=place.name) as client,
            client.consumer(TOPIC, group=GROUP, commit="manual", on_assigned=assigned) as consumer,
        ):
            finished: dict[int, tidelog.Record[bytes, bytes]] = {}
            async for record in consumer:
                self._took(place, record)
                finished[record.partition] = record
                place.owns = frozenset(one.partition for one in consumer.assignment)
                if place.taken % COMMIT_EVERY == 0:
                    await self._commit(consumer, finished)

    def _took(self, place: Place, record: tidelog.Record[bytes, bytes]) -> None:
        now = monotonic()
        if place.taken:
            place.pause_s = max(place.pause_s, now - place.last_s)
        place.taken, place.last_s = place.taken + 1, now
        self._book.took(record)

    async def _commit(
        self,
        consumer: tidelog.Consumer[bytes, bytes],
        finished: dict[int, tidelog.Record[bytes, bytes]],
    ) -> None:
        sent = list(finished.values())
        finished.clear()
        try:
            await consumer.commit(*sent)
        except tidelog.Fenced:
            return  # they come again
        for one in sent:
            before = self._book.committed.get(one.partition, 0)
            self._book.committed[one.partition] = max(before, one.offset + 1)

    async def _judge(self, client: tidelog.Client) -> None:
        await self._no_commit_is_lost(client, dict(self._book.committed), "at the end")
        book = self._book
        self.problems += [*self._load.errors[:5], *book.odd[:5]]
        for partition, end in book.committed.items():
            missing = set(range(end)) - book.seen[partition].keys()
            if missing:
                self.problems.append(f"partition {partition}: never handed out: {min(missing)}")
        self._say(
            f"{self._load.count} acknowledged, "
            f"{sum(map(len, book.seen.values()))} handed out, {book.again} of them again, "
            f"{sum(book.committed.values())} committed; "
            f"longest pauses: {', '.join(f'{one:.1f}' for one in sorted(self.pauses))} s"
        )


def main() -> int:
    """Tell the story; 0 if it ends well."""
    parser = parser_of(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    return told(parser, lambda folder, asked: asyncio.run(Story(folder, say).tell(asked.kills)))


if __name__ == "__main__":
    sys.exit(main())

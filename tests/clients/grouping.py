"""Everything about a group: two members share a topic, one is cut off, both are sent back."""

from contextlib import AsyncExitStack
from typing import Final

from tests.clients.deliveries import Era, judge
from tests.clients.member import GroupMember
from tests.clients.scene import PARTITIONS, Scene
from tests.clients.stored import Log, first_at, unlike
from tests.clients.writing import produce, produce_cut, some_lines, unlike_duplicates

LINES: Final = 1_200
LATER_LINES: Final = 120
MORE_LINES: Final = 120
"""Written where the member to be cut off had everything before its second commit."""


def ends(log: Log) -> dict[int, int]:
    """Return the offset behind each partition's last record."""
    return {partition: len(records) for partition, records in log.items()}


class Grouping:
    """The steps of two members, one after the other."""

    def __init__(self, scene: Scene, one: GroupMember, two: GroupMember) -> None:
        self._scene = scene
        self._report = scene.report
        self._one = one
        self._two = two
        self._eras: list[Era] = []

    async def join(self) -> None:
        """The first one has everything, then each has half."""
        with self._report.step("join with two members"):
            self._one.start()
            await self._has(self._one, PARTITIONS)
            self._two.start()
            await self._has(self._one, PARTITIONS // 2)
            await self._has(self._two, PARTITIONS // 2)

    async def produce_and_cut(self) -> Log:
        """Write while they read; one answer to the writer is lost, one member is cut off."""
        settled = (await self._scene.described()).epoch
        self._one.cut_wanted = True
        with self._report.step("produce, an answer cut off") as wrong:
            lines = some_lines(0, LINES)
            log, found = await produce_cut(self._scene, lines)
            wrong.extend([*found, *unlike(log, lines)])
            produced = self._scene.program("produce").named("produced")
            wrong.extend(unlike_duplicates(produced))
        with self._report.step("commit") as wrong:
            await self._come_to(log, epoch=0)
            if self._one.cut_wanted:
                more = some_lines(LINES + LATER_LINES, MORE_LINES)
                log = await produce(self._scene, "more", more)
                await self._come_to(log, epoch=0)
            if (stored := await self._scene.committed()) != ends(log):
                wrong.append(f"the node has {stored}, not {ends(log)}")
            wrong += [*self._one.wrong, *self._two.wrong]
        with self._report.step("cut off in the middle, resumed") as wrong:
            wrong.extend(self._one.unlike_resumed())
            resumed = (await self._scene.described()).epoch
            if resumed != settled:
                wrong.append(f"a rebalance: epoch {settled} before, {resumed} after")
        self._eras.append(Era(0, dict.fromkeys(log, 0), ends(log)))
        return log

    async def seek(self, log: Log) -> dict[int, int]:
        """Send the group to a moment while both live; return the places."""
        with self._report.step("seek while it runs") as wrong:
            times = sorted(record.time_ms for records in log.values() for record in records)
            time_ms = times[len(times) // 2]
            scene = self._scene
            words = ["seek", scene.group, scene.topic, "event", str(time_ms)]
            program = scene.start("seek", words)
            await program.end()
            places = {partition: first_at(records, time_ms) for partition, records in log.items()}
            for name in ("planned", "sought"):
                told = {event["partition"]: event["after"] for event in program.named(name)}
                if told != places:
                    wrong.append(f"{name} {told}, not {places}")
            (end,) = program.named("seek")
            if end["member_count"] != 2:
                wrong.append(f"{end['member_count']} members were fenced, not 2")
            self._epoch = end["group_epoch"]
            await self._come_to(log, epoch=self._epoch)
            members = (self._one, self._two)
            calm = [one.program.name for one in members if not one.program.named("fenced")]
            wrong += [f"{name} does not say that it was fenced" for name in calm]
        return places

    async def leave(self, places: dict[int, int]) -> Log:
        """One leaves, the other one has everything, also what is written then; it leaves too."""
        with self._report.step("leave, the other one takes over") as wrong:
            await self._one.program.leave()
            await self._has(self._two, PARTITIONS)
            log = await produce(self._scene, "later", some_lines(LINES, LATER_LINES))
            await self._come_to(log, epoch=self._epoch)
            await self._two.program.leave()
            for member in (self._one, self._two):
                if not member.program.named("left"):
                    wrong.append(f"{member.program.name} does not say that it has left")
            if members := (await self._scene.described()).members:
                wrong.append(f"members stay behind: {[m.membership.member_id for m in members]}")
            if (stored := await self._scene.committed()) != ends(log):
                wrong.append(f"the node has {stored}, not {ends(log)}")
            wrong += [*self._one.wrong, *self._two.wrong]
        self._eras.append(Era(self._epoch, places, ends(log)))
        return log

    def judge(self, log: Log) -> None:
        """Look at every record that was delivered."""
        with self._report.step("no loss, no other repeats") as wrong:
            members = {one.program.name: one.program.events for one in (self._one, self._two)}
            found = judge(members, log, self._eras)
            wrong.extend(found.wrong)
            told = f"{found.deliveries} deliveries, {found.repeats} of them repeats"
            self._report.facts.append(told)

    async def _has(self, member: GroupMember, count: int) -> None:
        await member.program.until(f"{count} partitions", lambda: len(member.held) == count)

    async def _come_to(self, log: Log, *, epoch: int) -> None:
        """Wait until everything was committed by members of that epoch or later ones."""

        def done() -> bool:
            found: set[tuple[int, int]] = set()
            for member in (self._one, self._two):
                found |= member.committed(epoch)
            return found >= set(ends(log).items())

        await self._two.program.until("everything committed", done)


async def consume(scene: Scene) -> Log:
    """Go through everything; return the log in the end."""
    await scene.create(scene.topic)
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(GroupMember(scene, name).open())
            for name in ("one", "two")
        ]
        grouping = Grouping(scene, one, two)
        await grouping.join()
        log = await grouping.produce_and_cut()
        places = await grouping.seek(log)
        log = await grouping.leave(places)
        grouping.judge(log)
        return log

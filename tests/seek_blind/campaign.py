"""Seeks of a live group to random times, and what comes of each, held against a plain scan."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from grpc import aio

from tests.group_stream import reason_of
from tests.seek_blind.history import PARTITIONS, TOPIC, History
from tests.seek_blind.member import GROUP, Member
from tests.seek_blind.round import Account, Round
from tidelog.types import Clock
from tidelog.v1 import common_pb2, group_service_pb2, group_service_pb2_grpc

CLOCKS: Final[dict[Clock, Any]] = {
    "event": common_pb2.CLOCK_EVENT,
    "append": common_pb2.CLOCK_APPEND,
}
KINDS: Final = ("occurs", "1 ms before", "1 ms after", "between", "before all", "after all")
FAR_MS: Final = 86_400_000
WAIT_S_MAX: Final = 60.0
"""All that must come does, however busy the machine is; nothing is judged by how long it took."""
PAUSE_S_MAX: Final = 0.15
FIRST_REQUESTS: Final = 70
LOST: Final = frozenset({"UNKNOWN_MEMBER", "STALE_MEMBER_EPOCH"})
Request: Any = group_service_pb2.SeekOffsetsRequest


class Missing(Exception):  # noqa: N818 - says what happened
    """Something that must come did not."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which time to go to."""

    clock: Clock
    kind: str


WISHES: Final = tuple(Wish(clock, kind) for clock in CLOCKS for kind in KINDS)


@dataclass(slots=True)
class Outcome:
    """What a run has seen."""

    account: Account
    seeks: Counter[Wish] = field(default_factory=Counter)
    plans: int = 0
    held: int = 0
    """Seeks after which the group was kept empty until its offsets had been listed."""
    caught_up: int = 0
    """Rounds in which everything behind the place was delivered before the next seek."""

    def lacking(self, seeks: int) -> list[str]:
        """Return what a run must have seen and this one has not."""
        account = self.account
        wanted = {
            "seeks": sum(self.seeks.values()) >= seeks,
            "late commits": account.commits_late > 0,
            "commits cut off by a seek": account.commits_cut > 0,
            "fenced streams": account.fenced >= 2 * sum(self.seeks.values()),
            "plans": self.plans > 0 or seeks < 4,
            "held groups": self.held > 0 or seeks < 4,
            "every kind of time": len(self.seeks) == len(WISHES) or seeks < len(WISHES),
        }
        return [f"too few of: {what}" for what, there in wanted.items() if not there]


class Campaign:
    """One topic, one group of two members, many seeks."""

    def __init__(
        self, target: str, channel: aio.Channel, history: History, *, rand: Random
    ) -> None:
        """Work on a node whose topic is there."""
        self.outcome = Outcome(Account())
        self._groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(channel)
        self._history = history
        self._rand = rand
        self._round = Round(0, [0] * PARTITIONS, self.outcome.account)
        self._news = asyncio.Event()
        self._members = [
            Member(target, name, latest=lambda: self._round, seen=self._news.set)
            for name in ("one", "two")
        ]
        self._wishes: list[Wish] = []

    async def run(self, seeks: int, *, say: Callable[[str], None]) -> Outcome:
        """Seek so often; stop at the first broken promise."""
        await self._history.grow(FIRST_REQUESTS)
        problems = self.outcome.account.problems
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(one.run()) for one in self._members]
                try:
                    await self._seeks(seeks, say)
                except (Missing, aio.AioRpcError) as broken:
                    self.outcome.account.problem(f"{type(broken).__name__}: {broken}")
                for one in self._members:
                    one.may_join.set()
                if not problems:
                    await self._leave()
                for task in running:
                    task.cancel()
        except* aio.AioRpcError as broken:
            self.outcome.account.problem(f"a call failed: {broken.exceptions[0]}")
        self.outcome.account.problems += self.outcome.lacking(seeks) if not problems else []
        return self.outcome

    async def _seeks(self, seeks: int, say: Callable[[str], None]) -> None:
        for number in range(1, seeks + 1):
            for one in self._members:
                one.may_join.set()
            await self._until(self._shared, "both members with partitions")
            await asyncio.sleep(self._rand.random() * PAUSE_S_MAX)
            if not self._wishes:
                self._wishes = self._rand.sample(WISHES, len(WISHES))
            wish = self._wishes.pop()
            await self._seek(number, wish)
            await self._follow(wish)
            if self.outcome.account.problems:
                return
            if number % 20 == 0 or number == seeks:
                account = self.outcome.account
                say(f"{number} seeks, {account.delivered} delivered, {account.fenced} fenced")

    async def _seek(self, number: int, wish: Wish) -> None:
        """Send the group to a time; compare, and try what must be refused by now."""
        time = self._time(wish)
        expected = self._history.expected(time, wish.clock)
        before, history = self._round, self._history
        if self._rand.random() < 0.3:
            least = list(before.committed)
            plan = await self._asked(wish, time, validate_only=True)
            self._compare(plan, expected, before=before, least=least)
            self.outcome.plans += 1
        held = self._rand.random() < 0.5
        for one in self._members:
            if held:
                one.may_join.clear()
        late = [(one.membership, one.cursors()) for one in self._members]
        self._round, least = Round(number, expected, self.outcome.account), list(before.committed)
        answer = await self._asked(wish, time, validate_only=False)
        self.outcome.seeks[wish] += 1
        self._compare(answer, expected, before=before, least=least)
        if answer.member_count != len(self._members):
            self._round.problem(f"{answer.member_count} members were fenced")
        for membership, cursors in late:
            await self._commit_late(membership, cursors or self._anywhere(history))
        await self._until(
            lambda: all(one.round is self._round or not one.stands for one in self._members),
            "the end of every stream of the older epoch",
        )
        if held:
            await self._listed(expected)
            self.outcome.held += 1
        for one in self._members:
            one.may_join.set()

    async def _follow(self, wish: Wish) -> None:
        """Watch the group go on from its new place, with new records behind it or without."""
        if wish.kind == "after all" or self._rand.random() < 0.2:
            await self._until(self._shared, "both members with partitions")
            await self._history.grow(self._rand.randint(1, 3))
        current, ends = self._round, self._history.ends
        caught_up = self._rand.random() < 0.3
        await self._until(
            lambda: all(
                reached >= (end if caught_up else min(end, begin + 1))
                for reached, begin, end in zip(current.reached, current.expected, ends, strict=True)
            ),
            "records behind the place",
        )
        self.outcome.caught_up += caught_up

    def _time(self, wish: Wish) -> int:
        times = self._history.times(wish.clock)
        match wish.kind:
            case "before all":
                return times[0] - self._rand.randint(1, FAR_MS)
            case "after all":
                return times[-1] + self._rand.randint(1, FAR_MS)
            case "between":
                return self._rand.randint(times[0], times[-1])
            case "1 ms before":
                return self._rand.choice(times) - 1
            case "1 ms after":
                return self._rand.choice(times) + 1
            case _:
                return self._rand.choice(times)

    async def _asked(self, wish: Wish, time: int, *, validate_only: bool) -> Any:
        seek = common_pb2.Seek(clock=CLOCKS[wish.clock])
        seek.time.FromMilliseconds(time)
        return await self._groups.SeekOffsets(
            Request(group=GROUP, topics=[TOPIC], seek=seek, force=True, validate_only=validate_only)
        )

    def _compare(
        self, answer: Any, expected: list[int], *, before: Round, least: list[int]
    ) -> None:
        """Hold an answer against the scan, and against what the members have committed.

        `least`: what had been acknowledged when the question was put.
        """
        rows = {row.partition.partition: row for row in answer.changes}
        if sorted(rows) != list(range(PARTITIONS)):
            self._round.problem(f"the answer names partitions {sorted(rows)}")
            return
        for number, row in rows.items():
            if row.HasField("error") or row.after != expected[number] or row.truncated:
                self._round.problem(f"{row}: a scan finds {expected[number]}")
            stood = row.before if row.HasField("before") else 0
            if not least[number] <= stood <= before.sent[number]:
                told = f"{least[number]} was acknowledged, {before.sent[number]} sent"
                self._round.problem(f"{row}: {told}")
            if row.redelivered != max(0, stood - row.after) and row.HasField("before"):
                self._round.problem(f"{row}: {stood - row.after} are delivered again")
            if row.skipped != max(0, row.after - stood):
                self._round.problem(f"{row}: {row.after - stood} are skipped")

    def _anywhere(self, history: History) -> list[common_pb2.Cursor]:
        return [common_pb2.Cursor(topic=TOPIC, partition=0, offset=history.ends[0])]

    async def _commit_late(
        self, membership: common_pb2.Membership, cursors: list[common_pb2.Cursor]
    ) -> None:
        """Commit as a member of the older epoch would whose words come late."""
        request: Any = group_service_pb2.CommitOffsetsRequest
        try:
            answer = await self._groups.CommitOffsets(
                request(group=GROUP, member=membership, cursors=cursors)
            )
        except aio.AioRpcError as refused:
            if reason_of(refused) not in LOST:
                self._round.problem(f"a late commit was refused with {reason_of(refused)}")
            self.outcome.account.commits_late += 1
            return
        self._round.problem(f"a commit of an older epoch was answered: {answer}")

    async def _listed(self, expected: list[int]) -> None:
        """Nobody is in the group: its offsets are those of the seek, all of them."""
        request = group_service_pb2.ListGroupOffsetsRequest(group=GROUP)
        answer = await self._groups.ListGroupOffsets(request)
        found = {row.partition.partition: row.committed.offset for row in answer.offsets}
        if found != dict(enumerate(expected)):
            self._round.problem(f"the group stands at {found}, it was sent to {expected}")

    def _shared(self) -> bool:
        """Tell whether both members of this round have partitions, and all are given."""
        counts = [len(one.stands) for one in self._members]
        current = all(one.round is self._round for one in self._members)
        return current and sum(counts) == PARTITIONS and min(counts) > 0

    async def _leave(self) -> None:
        async with asyncio.timeout(WAIT_S_MAX):
            for one in self._members:
                await one.leave()

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        problems = self.outcome.account.problems
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while not (holds() or problems):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise Missing(f"{what} did not come in {WAIT_S_MAX:.0f} s") from None

"""One pass over a running node: ranges and lookups on each clock, each against the oracle."""

import asyncio
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any, Final, NamedTuple

from grpc.aio import AioRpcError

from tests.blind.comparing import Tally, difference
from tests.blind.lookups import Lookups, Place
from tests.blind.node_doors import NodeDoors
from tests.blind.oracle import Oracle, Row, Span
from tests.blind.ranges import Dice
from tests.blind.readers import RANGE_DOORS, Answer, NoAnswerError, Readers, place_text
from tidelog.errors import TidelogError
from tidelog.types import Clock

CLOCKS: Final[tuple[Clock, ...]] = ("event", "append")
REFUSED: Final = (NoAnswerError, TidelogError, AioRpcError)
"""No answer is a wrong answer, too."""
AT_ONCE: Final = 3
"""Questions on their way at the same time: while the node answers one, another is compared."""
COMMANDS_OF: Final = 20
"""The command line is asked once for so many ranges."""
LOOKUP_COMMANDS_OF: Final = 100
"""And once for so many times: each is a process."""
ALL_PARTITIONS: Final = 0.04
"""Share of ranges that are read from all partitions. Shuffled records make every range of event
time a reading of the whole partition, so that the others read one."""
COMMAND_PARTITIONS: Final = 5
"""As many truncated partitions as a command names."""


class Question(NamedTuple):
    """A range for one door."""

    door: str
    span: Span
    partitions: Sequence[int]


class Phase:
    """Asks and compares; a difference is kept in the tally, in full."""

    def __init__(self, name: str, doors: NodeDoors, oracle: Oracle, *, rand: Random) -> None:
        """Connect."""
        self.tally = Tally(name)
        self._oracle = oracle
        self._rand = rand
        self._readers = Readers(doors)
        self._lookups = Lookups(doors)

    async def run(self, count: int) -> Tally:
        """Ask for so many ranges and look up so many times on each clock; the commands on top."""
        try:
            for clock in CLOCKS:
                dice = Dice(clock, self._oracle.times(clock), self._oracle.edges(clock), self._rand)
                await self._ask(
                    [self._compare_range(each) for each in self._questions(dice, count)]
                    + [self._compare_lookup(*each) for each in self._times(dice, count)]
                )
                self.tally.ends += dice.ends
                self.tally.near += dice.near
        finally:
            self._lookups.close()
        return self.tally

    def _questions(self, dice: Dice, count: int) -> list[Question]:
        commands = max(1, count // COMMANDS_OF)
        questions = [
            Question(RANGE_DOORS[number % len(RANGE_DOORS)], span, self._some(dice, wide=None))
            for number, span in enumerate(dice.spans(count))
        ]
        while commands:
            span = dice.span()
            if span.start_ms is None and span.end_ms is None:
                continue  # for the command line that is no range of time
            questions.append(Question("cli", span, self._some(dice, wide=COMMAND_PARTITIONS)))
            commands -= 1
        return questions

    def _some(self, dice: Dice, *, wide: int | None) -> list[int]:
        """Return the partitions to read: one, or at times all of them, or `wide`."""
        every = list(self._oracle.partitions)
        if dice.rand.random() < ALL_PARTITIONS:
            return sorted(dice.rand.sample(every, wide or len(every)))
        return [dice.rand.choice(every)]

    def _times(self, dice: Dice, count: int) -> list[tuple[str, int, Clock]]:
        doors = ("grpc", "sdk", "kafka") if dice.clock == "event" else ("grpc", "sdk")
        asked = [
            (doors[number % len(doors)], time, dice.clock)
            for number, time in enumerate(dice.times(count))
        ]
        commands = max(1, count // LOOKUP_COMMANDS_OF)
        return asked + [("cli", time, dice.clock) for time in dice.times(commands)]

    async def _ask(self, questions: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Put all questions, a few at a time, in an order of chance."""
        waiting = list(questions)
        self._rand.shuffle(waiting)

        async def one_after_the_other() -> None:
            while waiting:
                await waiting.pop()

        try:
            async with asyncio.TaskGroup() as asking:
                for _ in range(AT_ONCE):
                    asking.create_task(one_after_the_other())
        finally:
            for never_put in waiting:
                never_put.close()

    async def _compare_range(self, question: Question) -> None:
        try:
            answer = await self._readers.read(*question)
        except REFUSED as refused:
            self._differs(question, f"{type(refused).__name__}: {refused}")
            return
        self.tally.ranges[question.door] += 1
        if set(answer.rows) != set(question.partitions):
            self._differs(question, f"answered for partitions {sorted(answer.rows)}")
            return
        for partition in question.partitions:
            self._compare_partition(question, partition, answer)

    def _compare_partition(self, question: Question, partition: int, answer: Answer) -> None:
        span, oracle = question.span, self._oracle
        expected = span.within(oracle.kept(partition))
        got = answer.rows[partition]
        self.tally.records += len(expected)
        differs = difference(expected, got)
        if differs is not None:
            self._differs(question, f"partition {partition}: {differs}")
        said = answer.truncated[partition]
        right = oracle.truncated(partition, span.start_ms, span.clock, stop=span.end_ms)
        if said not in right:
            self._differs(question, f"partition {partition}: truncated is {said}")
        self.tally.truncated += said

    def _differs(self, question: Question, what: str) -> None:
        span = question.span
        self.tally.differences.append(
            f"{self.tally.phase}: {question.door}, {span.clock} clock, {span.start_ms} to "
            f"{span.end_ms} ({place_text(span)}), partitions {question.partitions}: {what}"
        )

    async def _compare_lookup(self, door: str, time: int, clock: Clock) -> None:
        where = f"{self.tally.phase}: {door} looked up {time} on the {clock} clock"
        try:
            found = await self._lookups.find(door, time, clock)
        except REFUSED as refused:
            self.tally.differences.append(f"{where}: {type(refused).__name__}: {refused}")
            return
        if set(found) != set(self._oracle.partitions):
            self.tally.differences.append(f"{where}: answered for partitions {sorted(found)}")
            return
        for partition, place in found.items():
            self.tally.lookups[door] += 1
            first = self._oracle.first(partition, time, clock)
            at = None if first is None else first.time(clock)
            stop = None if at is None else at + 1  # the time of the answer is one of those asked
            right = self._oracle.truncated(partition, time, clock, stop=stop)
            wrong = _wrong(place, first, clock, truncated=right)
            if wrong is not None:
                self.tally.differences.append(f"{where}, partition {partition}: {wrong}")


def _wrong(
    place: Place, first: Row | None, clock: Clock, *, truncated: frozenset[bool]
) -> str | None:
    """Say what is wrong with a place, whose record is `first`; None: nothing."""
    if place.offset != (None if first is None else first.offset):
        return f"{place}, a scan finds {first}"
    if place.truncated is None:
        return None
    if place.time != (None if first is None else first.time(clock)):
        return f"{place}, the record is {first}"
    if place.truncated not in truncated:
        return f"{place}, truncated is wrong for {first}"
    return None

"""A damaged segment is fetched part by part: nothing twice, and readers are told what is so."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from api.sim.clock import SimClock
from api.sim.faults import Operation
from cluster.peer.repair import AskBatches, BatchesPart
from cluster.peer.replica_frames import SentBatch
from cluster.replication.quarantine import AGAIN_MS_MAX, AGAIN_MS_MIN
from cluster.shell.repair_port import RepairDoors
from cluster.shell.repairs import Repairs
from logstore.free_space import Claim
from logstore.paths import LOG, TEMPORARY
from logstore.replacement import Replacement
from logstore.scrub import may_scrub
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import MonotonicMs, NodeId, Offset, Position, WallMs
from tests.unit.logstore.test_log_directory import checkpoint, settle
from tests.unit.logstore.test_replacement import content, damaged, sent
from tests.unit.logstore.test_scrub import DIRECTORY, RECORDS, name

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
LAST = Offset(RECORDS - 1)
Refuse = Callable[[AskBatches], BatchesPart | RequestError | MalformedError]


class Writer:
    """Runs what is to run alone at once, and remembers what that did to the disk."""

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench
        self.looks = 0
        self.jobs: list[Counter[Operation]] = []
        """Of each job, how often it did what."""

    def ask(self) -> None:
        """There is nothing to write."""

    def look_at_space(self) -> None:
        self.looks += 1

    async def checkpointed(self) -> None:
        checkpoint(self._bench.directory)

    async def alone(self, job: Callable[[], None], *, still: Callable[[], bool]) -> bool:
        if not still():
            return False
        done: Counter[Operation] = Counter()
        self._bench.disk.before = lambda operation, *_: done.update([operation])
        job()
        self._bench.disk.before = None
        self.jobs.append(done)
        return True


class Bench:
    """Node 1 with a log whose first segment has rotted; what nodes 2 and 3 say is the test's."""

    def __init__(self) -> None:
        self.disk, self.directory, self.log, self.whole, self.right = damaged()
        self.clock = SimClock(wall=WallMs(0), monotonic=MonotonicMs(1_000))
        self.writer = Writer(self)
        self.says: dict[NodeId, Refuse] = {}
        self.asked: list[tuple[NodeId, Offset]] = []
        self.claimed: list[Claim] = []
        self.told: list[tuple[str, dict[str, str | int]]] = []
        self.led_by: list[NodeId] = []
        self.tasks: list[asyncio.Future[None]] = []
        self.looked = 0
        self.gone: list[str] = []
        replicas = (ONE, TWO, THREE)
        assignment = SimpleNamespace(replicas=replicas, leader=TWO, isr=frozenset(replicas))
        self.hosted: Any = SimpleNamespace(
            log=self.log,
            replica=SimpleNamespace(assignment=assignment),
            topic=SimpleNamespace(name="orders"),
            number=0,
            high_watermark=self.log.log_end,
            gone=False,
            leads=False,
            mending=False,
        )
        here: Any = self
        doors = RepairDoors(
            node=ONE,
            clock=self.clock,
            spawn=here,
            disk=self.disk,
            writer=here.writer,
            read_pool=here,
            claim=self._claim,
            links=here,
            note=lambda event, /, **fields: self.told.append((event, fields)),
            hand_over=self._hand_over,
            mended=lambda hosted, segment: None,
            gone=lambda hosted, segment: self.gone.append(segment.log_name),
        )
        self.repairs = Repairs(doors, here)

    def _claim(self, size_bytes: int) -> Claim:
        self.claimed.append(self.directory.claim(size_bytes))
        return self.claimed[-1]

    def start(self, task: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.ensure_future(task))

    async def run(self, job: Callable[[], Any]) -> Any:
        self.looked += 1
        return job()

    async def ask_batches(self, node: NodeId, ask: AskBatches) -> BatchesPart:
        self.asked.append((node, ask.start))
        answer = self.says[node](ask)
        if isinstance(answer, BatchesPart):
            return answer
        raise answer

    async def _hand_over(self, hosted: Any, node: NodeId) -> None:
        self.led_by.append(node)

    def one_batch(self, ask: AskBatches) -> BatchesPart:
        """Return the batch that begins there, as a replica that is whole."""
        base, time, raw = self.whole[ask.start]
        part = (SentBatch(base, time, raw),)
        return BatchesPart(ask.partition, base, Offset(base + 1), part)

    def all_but(self, *bad: int, code: ErrorCode = ErrorCode.CORRUPT_LOG) -> Refuse:
        """Return what a replica says that refuses these batches."""

        def says(ask: AskBatches) -> BatchesPart | RequestError | MalformedError:
            return RequestError(code, "no") if ask.start in bad else self.one_batch(ask)

        return says

    async def found(self, number: int = 0) -> None:
        self.repairs.found(self.hosted, self.log.segment_list[number])
        await self.pass_time(0)

    async def pass_time(self, ms: int) -> None:
        self.clock.advance(ms)
        for _ in range(100):
            await asyncio.sleep(0)

    def events(self, event: str) -> list[dict[str, str | int]]:
        return [fields for told, fields in self.told if told == event]


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    one = Bench()
    yield one
    for task in one.tasks:
        task.cancel()
    for ended in await asyncio.gather(*one.tasks, return_exceptions=True):
        assert ended is None or isinstance(ended, asyncio.CancelledError), ended


def unreachable(_: AskBatches) -> RequestError:
    return RequestError(ErrorCode.NODE_UNREACHABLE, "away")


async def test_no_job_that_commits_wait_for_syncs_more_than_it_writes() -> None:
    """The swap of a large segment is names alone; each part was synced when it came."""
    async with bench() as at:
        at.says = dict.fromkeys((TWO, THREE), at.one_batch)
        await at.found()
        assert at.events("segment_mended")
        assert content(at.disk, LOG) == at.right
        *writes, swap = at.writer.jobs
        assert len(writes) == RECORDS + 1
        for job in writes:
            assert (job[Operation.WRITE], job[Operation.SYNC]) == (1, 1)
        assert not swap[Operation.SYNC] and not swap[Operation.WRITE]
        assert swap[Operation.SYNC_DIRECTORY] == 1


async def test_what_has_come_is_kept_while_somebody_is_away_and_room_is_claimed_once() -> None:
    async with bench() as at:
        at.says = {TWO: unreachable, THREE: unreachable}
        await at.found()
        kept = at.disk.open(name(LOG) + TEMPORARY).size()
        assert kept, "what is whole here lies beside the segment"
        written, looked = len(at.writer.jobs), at.looked
        asked = len(at.asked)
        for _ in range(60):
            await at.pass_time(60_000)
        assert len(at.writer.jobs) == written
        (claim,) = at.claimed
        size = at.log.segment_list[0].size_bytes
        assert claim.left_bytes == size - kept > 0, "what is not written yet"
        assert at.directory.mark_space().unwritten_bytes == claim.left_bytes
        assert at.disk.open(name(LOG) + TEMPORARY).size() == kept
        assert at.looked - looked <= 60, "the segment is not read again and again"
        assert asked < len(at.asked) <= asked + 2 * 60
        said = [(fields["node"], fields["offset"]) for fields in at.events("repair_refused")]
        assert len(said) == len(set(said)), "once each"
        at.says[THREE] = at.one_batch
        await at.pass_time(AGAIN_MS_MAX)
        assert at.events("segment_mended")
        assert content(at.disk, LOG) == at.right
        assert at.directory.mark_space().unwritten_bytes == 0


async def test_pauses_grow_until_something_comes() -> None:
    async with bench() as at:
        at.says = {TWO: unreachable, THREE: unreachable}
        await at.found()
        pauses, since = [], 0
        for _ in range(600):
            before = len(at.asked)
            await at.pass_time(1_000)
            since += 1_000
            if len(at.asked) > before:
                pauses.append(since)
                since = 0
        assert pauses[0] == AGAIN_MS_MIN
        assert pauses[1] == 2 * AGAIN_MS_MIN
        assert pauses[-1] == AGAIN_MS_MAX


async def test_what_gathered_goes_with_the_segment() -> None:
    async with bench() as at:
        at.says = {TWO: unreachable, THREE: unreachable}
        await at.found()
        at.hosted.gone = True
        await at.pass_time(AGAIN_MS_MAX)
        assert all(task.done() for task in at.tasks)
        assert not [one for one in at.disk.list(DIRECTORY) if one.endswith(TEMPORARY)]
        assert at.writer.looks, "its room is given back"
        assert at.directory.mark_space().unwritten_bytes == 0
        assert not at.hosted.mending
        assert at.gone == [at.log.segment_list[0].log_name], "elections are told so"


async def test_what_is_left_of_a_segment_or_has_its_name_is_looked_at_again() -> None:
    async with bench() as at:
        at.says = {TWO: unreachable, THREE: unreachable}
        await at.found()
        at.log.segment_list[0].generation += 1  # as a cut of its end does
        at.says = dict.fromkeys((TWO, THREE), at.one_batch)
        await at.pass_time(AGAIN_MS_MAX)
        assert at.events("segment_mended")
        assert not at.gone


async def test_a_segment_that_is_cut_while_it_is_replaced_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread that writes has put the new files in place; then the loop goes on."""
    swap = Replacement.swap

    def cut_meanwhile(new: Replacement) -> None:
        swap(new)
        at.log.segment_list[0].generation += 1
        monkeypatch.undo()

    async with bench() as at:
        at.says = dict.fromkeys((TWO, THREE), at.one_batch)
        monkeypatch.setattr(Replacement, "swap", cut_meanwhile)
        await at.found()
        assert not at.events("segment_mended")
        looked = at.looked
        await at.pass_time(AGAIN_MS_MAX)
        assert at.looked > looked
        assert at.events("segment_mended"), "it is whole as it stands"


async def test_nothing_is_damaged_in_an_empty_segment_that_has_its_name() -> None:
    """A log that was begun anew and got nothing yet: nobody could close it."""
    async with bench() as at:
        at.says = {TWO: unreachable, THREE: unreachable}
        await at.found()
        rotten = at.log.segment_list[0]
        at.log.truncate(Offset(0))
        settle(at.directory)
        await at.pass_time(AGAIN_MS_MAX)
        assert [one.log_name for one in at.log.segment_list] == [rotten.log_name]
        assert at.gone == [rotten.log_name]
        assert not at.hosted.mending
        assert all(task.done() for task in at.tasks)


async def test_each_segment_of_a_partition_has_a_last_word_of_its_own() -> None:
    """One is given up; another one, found damaged behind it, may be there in a moment."""
    async with bench() as at:
        at.says = dict.fromkeys((TWO, THREE), at.all_but(0, 1, 2, 3))
        await at.found()
        assert at.events("repair_impossible")
        assert not at.hosted.mending
        second = at.log.segment_list[1]
        assert not may_scrub(second)  # open: it waits to be closed, and nobody was asked for it
        await at.found(1)
        assert at.hosted.mending
        await at.pass_time(AGAIN_MS_MIN)
        assert len(at.asked) > 0
        assert at.hosted.mending, "giving the first one up again says nothing of the second"


WRONG_EPOCH = MalformedError("fetched batch", 0, "leader epoch 9, here it is 3")


@pytest.mark.parametrize(
    ("refused", "heard"),
    [
        (WRONG_EPOCH, True),
        (RequestError(ErrorCode.OFFSET_OUT_OF_RANGE, "no batch begins there"), True),
        (RequestError(ErrorCode.UNKNOWN_PARTITION, "no replica yet"), False),
        (RequestError(ErrorCode.CORRUPT_LOG, "damaged"), True),
        (RequestError(ErrorCode.NODE_UNREACHABLE, "away"), False),
        (RequestError(ErrorCode.REQUEST_TIMED_OUT, "slow"), False),
        (RequestError(ErrorCode.UPSTREAM_LOST, "the link ended"), False),
        (RequestError(ErrorCode.OVERLOADED, "busy"), False),
        (RequestError(ErrorCode.OFFSET_NOT_AVAILABLE, "it begins"), False),
        (RequestError(ErrorCode.SHUTTING_DOWN, "it stops"), False),
    ],
)
async def test_who_was_heard_and_cannot_is_not_waited_for(
    refused: RequestError | MalformedError, heard: bool
) -> None:
    async with bench() as at:
        at.says = {TWO: at.all_but(0, 1, 2, 3), THREE: lambda _: refused}
        await at.found()
        assert bool(at.events("repair_impossible")) is heard
        assert at.hosted.mending is not heard


async def test_leadership_goes_to_who_has_sent_what_is_damaged_here() -> None:
    """Not to who has sent what lies before it, and is damaged in the same place."""
    async with bench() as at:
        at.hosted.leads = True
        at.disk.flip_bit(name(LOG), Position(len(at.right) // 2), 3)  # it is whole again
        at.disk.flip_bit(name(LOG), Position(len(at.right) - 5), 3)
        at.says = {TWO: at.all_but(LAST), THREE: unreachable}
        await at.found()
        assert (TWO, LAST) in at.asked
        assert not at.led_by
        at.says[THREE] = at.one_batch
        await at.pass_time(AGAIN_MS_MIN)
        assert at.led_by == [THREE]


async def test_sizes_are_not_touched_while_a_cut_waits() -> None:
    """The row and memory would speak of files that are not there yet."""
    async with bench() as at:
        segment = at.log.segment_list[0]
        segment.size_bytes = segment.written_bytes = segment.durable_bytes = len(at.right) - 7
        sizes = segment.size_bytes
        at.says = {TWO: at.all_but(LAST), THREE: unreachable}
        await at.found()

        def cuts(ask: AskBatches) -> BatchesPart:
            at.log.cut = at.log.log_end
            return at.one_batch(ask)

        at.says[THREE] = cuts
        await at.pass_time(AGAIN_MS_MIN)
        assert segment.size_bytes == sizes
        at.log.cut = None
        await at.pass_time(AGAIN_MS_MIN)
        assert at.events("segment_mended")
        assert sent(at.log) == at.whole

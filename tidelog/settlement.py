"""What a consumer owes its group: commits of what is finished, and partitions given back.

A partition is given back once nobody works on a record of it, and after the commit of what was
finished; whoever gets it goes on exactly there.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tidelog.commits import Rows
from tidelog.connection import Connection
from tidelog.errors import TIMED_OUT, Fenced, TidelogError, error_of
from tidelog.held import Held, Spot
from tidelog.membership import LOST, Membership
from tidelog.types import Record
from tidelog.v1 import common_pb2 as common
from tidelog.wire_errors import failure_of_row

LOGGER: Final = logging.getLogger("tidelog.client")
COMMIT_EVERY_S: Final = 1.0
"""What is finished is committed so often."""
CLOSE_S: Final = 10.0
"""How long the last commit may take when the consumer is closed."""
PASSED_ON: Final = LOST | {"FENCED_INSTANCE", "UNKNOWN_TOPIC", "UNKNOWN_PARTITION"}
"""A commit refused so is of no use any more: the partition is another member's, or is no more."""

SHOWN: Final = 3
"""So many partitions are named of what went uncommitted."""
LATE: Final = (
    "%s/%d was asked back and the program took too long: what it finished since its last commit "
    "comes again"
)
TAKEN: Final = (
    "%s/%d was taken at once, or its topic is gone: what the program finished since its last "
    "commit is not committed"
)


class Settlement:
    """One consumer's commits and what it gives back."""

    def __init__(
        self, connection: Connection, membership: Membership, in_hand: Collection[Held]
    ) -> None:
        """Take the membership, and where the consumer notes what the program works on."""
        self._connection = connection
        self._membership = membership
        self._in_hand = in_hand
        self._under_way: dict[asyncio.Future[None], Mapping[Held, Spot]] = {}
        """What each commit says that has no answer yet."""
        self._news = asyncio.Event()
        """Something may be finished that no commit has said yet; else no time is looked at."""
        self._due_s = 0.0
        """Monotonic seconds at which the next regular commit is due, if there is news."""

    def finished(self, held: Held) -> None:
        """Note that the program is done with all that it was handed of a partition."""
        held.done = held.next
        if not self._news.is_set():
            self._is_news()

    def _is_news(self) -> None:
        self._due_s = self._connection.clock.monotonic() + COMMIT_EVERY_S
        self._news.set()

    def spots_of(self, records: Sequence[Record[Any, Any]]) -> Mapping[Held, Spot]:
        """Return where a commit goes: behind these, or if none, behind all that was handed out.

        Raises:
            Fenced: a record was not handed out in the tenure that this consumer has now: its
                partition has gone, or the group was sent elsewhere, perhaps to read it again.
            TypeError: what is no record.
        """
        by_key = self._membership.holdings.by_key
        if not records:
            return {held: held.next for held in by_key.values() if held.next != held.began}
        spots: dict[Held, Spot] = {}
        for record in records:
            if not isinstance(record, Record):
                raise TypeError(
                    f"commit takes records, one after the other, not {type(record).__name__}: "
                    "commit(record), commit(*records), or commit() for all that was handed out"
                )
            held = by_key.get((record.topic, record.partition))
            if held is None or not held.began[0] <= record.offset < held.next[0]:
                raise self._membership.gone(
                    f"offset {record.offset} of {record.topic}/{record.partition} was not handed "
                    "out since this partition came to it, or since its last seek"
                )
            spot = (record.offset + 1, record.leader_epoch)
            spots[held] = max(spots.get(held, spot), spot, key=lambda one: one[0])
        return spots

    async def commit_asked(self, records: Sequence[Record[Any, Any]]) -> None:
        """Commit what the program names, or all; then tell what went uncommitted before.

        Raises:
            Fenced: as `spots_of`, or something went so; that is said once.
            TidelogError: as `commit`.
        """
        await self.commit(self.spots_of(records))
        if records:
            return
        owed = self._membership.holdings.take_owed()
        if owed:
            places = shown([f"{at[0]}/{at[1]} from offset {offset} on" for at, offset in owed])
            raise self._membership.gone(
                f"what was handed out of {places} was not committed when that went, and may come "
                "again"
            )

    async def commit(self, spots: Mapping[Held, Spot]) -> None:
        """Commit, and try again what may be refused only for now.

        A node takes a commit for one of the tenure that its member has by then, so that what is
        tried again is of the same one; and it takes back nothing that was said meanwhile, whether
        that has its answer or not.

        Raises:
            Fenced: a tenure was over before its commit was done; the others' are done.
            TidelogError: the first row that is refused for good, or after the retry budget; a note
                names what else went uncommitted with it.
        """
        budget = self._connection.budget()
        tries = {held: _Try(spot, held.began, held.committed) for held, spot in spots.items()}
        over: list[Held] = []
        while tries:
            try:
                failures = await self._send({held: one.spot for held, one in tries.items()})
            except Fenced:  # everything that was held went; by this the program knows
                self._membership.holdings.owed.clear()
                raise
            _raise_refused(failures, over)
            tries = {held: one for held, one in tries.items() if held in failures}
            if tries:
                first, *others = tries
                try:
                    wait_s = budget.failed(failures[first])
                except TidelogError as gave_up:
                    _note(gave_up, [*others, *over])
                    raise
                await self._connection.clock.sleep(wait_s)
            over += [held for held, one in tries.items() if not self._is_of_now(held, one)]
            tries = {
                held: one._replace(spot=self._no_less(held, one.spot))
                for held, one in tries.items()
                if self._is_of_now(held, one) and not one.is_surpassed(held)
            }
        if over:
            for held in over:
                held.told = not self._is_held(held)
            raise self._membership.gone(
                f"{shown([f'{held.at[0]}/{held.at[1]}' for held in over])} went, or was sent "
                "elsewhere, while its commit was tried again"
            )

    def _is_of_now(self, held: Held, one: "_Try") -> bool:
        return self._membership.holdings.is_of_now(held, one.began)

    def _no_less(self, held: Held, spot: Spot) -> Spot:
        """Return what to say again: no less than what was said since and has no answer yet.

        It goes out behind that. Another object: of two that say the same, each is answered alone.
        """
        asked = held.asked
        if asked is None or asked[0] <= spot[0]:
            return spot
        unanswered = any(spots.get(held) is asked for spots in self._under_way.values())
        return (asked[0], asked[1]) if unanswered else spot

    async def run(self) -> None:
        """Commit what is finished, again and again."""
        clock, holdings = self._connection.clock, self._membership.holdings
        while True:
            await self._news.wait()
            await clock.sleep(max(0.0, self._due_s - clock.monotonic()))
            self._news.clear()
            await self._commit_quietly(self._dirty(holdings.by_key.values()))
            if not self._news.is_set() and self._dirty(holdings.by_key.values()):
                self._is_news()  # it was refused for now

    async def close(self, *, failed: bool) -> None:
        """Commit what is finished, for the last time; `failed`: an error is on its way already.

        Raises:
            TidelogError: it was refused, or got no answer in time; or what ended the consumer,
                if the program does not know yet.
        """
        membership = self._membership
        if membership.failure is not None and not membership.is_told and not failed:
            raise membership.told()
        if membership.failure is not None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._last_commit()
        except TimeoutError:
            error = error_of(TIMED_OUT, f"the last commit was not answered in {CLOSE_S:.0f} s")
        except TidelogError as refused:
            error = refused
        else:
            return
        if failed or error.reason in PASSED_ON:
            LOGGER.warning("the last commit failed, what it said comes again: %s", error)
        else:
            raise error

    async def _last_commit(self) -> None:
        """Wait for the commits that are under way, then commit what is left.

        Raises:
            TidelogError: one of them was refused.
        """
        membership = self._membership
        if self._under_way:  # what is committed from here on is not waited for: it may go on so
            await asyncio.wait(set(self._under_way))
        if membership.failure is not None and not membership.is_told:
            raise membership.told()
        await self.commit(self._dirty(membership.holdings.by_key.values()))

    def idle(self) -> Sequence[Held]:
        """Return what is to be given back and nobody works on."""
        return [
            held
            for held in self._membership.holdings.by_key.values()
            if held.revoke_by_s is not None and not held.going and held not in self._in_hand
        ]

    def give_back_idle(self, *, only_untold: bool) -> None:
        """Give back what nobody works on; `only_untold`: of which the program has not heard."""
        self.give_back([held for held in self.idle() if held.untold or not only_untold])

    def give_back(self, going: Sequence[Held]) -> None:
        """Give partitions back, beside whatever the program does; but none that went meanwhile."""
        going = [held for held in going if self._is_held(held) and not held.going]
        if going:
            for held in going:
                held.going = True
            self._membership.start(self._give_back(going))

    async def _give_back(self, going: Sequence[Held]) -> None:
        now_s = self._connection.clock.monotonic()
        late = [held for held in going if held.revoke_by_s is not None and held.revoke_by_s < now_s]
        for held in late:  # perhaps it is another member's by now, perhaps this one's again
            if held.is_dirty:
                LOGGER.warning(LATE if held.had_time else TAKEN, *held.at)
            self._membership.holdings.drop(held)
        await self._commit_quietly(self._dirty(held for held in going if self._is_held(held)))
        self._membership.hand_over(going)

    def _is_held(self, held: Held) -> bool:
        """Tell whether a tenure goes on: what is finished of one that is over is not committed."""
        return self._membership.holdings.by_key.get(held.at) is held

    async def _commit_quietly(self, spots: Mapping[Held, Spot]) -> None:
        """Commit beside the program, which is told only of what it can do something about."""
        if not spots:
            return
        try:
            failures = await self._send(spots)
        except TidelogError as lost:
            if lost.reason not in LOST:
                raise
            LOGGER.debug("a commit came too late: %s", lost)
            return
        for held, error in failures.items():
            if error.reason in PASSED_ON or error.retryable:
                LOGGER.warning("%s/%d was not committed: %s", *held.at, error)
            else:
                raise error

    async def _send(self, spots: Mapping[Held, Spot]) -> Mapping[Held, TidelogError]:
        """Commit once; return what was refused."""
        cursors = []
        for held, spot in spots.items():
            held.asked = spot
            offset, epoch = spot
            cursor = common.Cursor(topic=held.at[0], partition=held.at[1], offset=offset)
            if epoch is not None:
                cursor.leader_epoch = epoch
            cursors.append(cursor)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way[answered] = spots
        try:
            rows = await self._membership.commit(cursors)
        except BaseException:
            for held, spot in spots.items():
                _take_back(held, spot)
            raise
        finally:
            del self._under_way[answered]
            answered.set_result(None)
        return _answered(spots, rows)

    @staticmethod
    def _dirty(every: Iterable[Held]) -> Mapping[Held, Spot]:
        return {held: held.done for held in every if held.is_dirty and held.done is not None}


class _Try(NamedTuple):
    """A commit of one partition that may have to be said again."""

    spot: Spot
    began: Spot
    """Where delivery had begun when it was said first."""
    committed: Spot | None
    """What was committed then."""

    def is_surpassed(self, held: Held) -> bool:
        """Tell whether as much has been committed since, by a commit that was said later."""
        committed = held.committed
        return (
            committed is not None
            and committed is not self.committed
            and committed[0] >= self.spot[0]
        )


def _raise_refused(failures: Mapping[Held, TidelogError], over: Sequence[Held]) -> None:
    """Raise the first of the refusals that are for good, with a note of all that is given up."""
    refused = [(held, error) for held, error in failures.items() if not error.retryable]
    if not refused:
        return
    for held, error in refused:
        held.told = error.reason in PASSED_ON
    (which, first), *_ = refused
    _note(first, [*(held for held in failures if held is not which), *over])
    raise first


def _note(error: TidelogError, others: Sequence[Held]) -> None:
    """Let an error say what else went uncommitted with it."""
    if others:
        names = shown([f"{held.at[0]}/{held.at[1]}" for held in others])
        error.add_note(f"nor were committed: {names}")


def shown(places: Sequence[str]) -> str:
    """Return the first of several places, and how many more there are."""
    more = [f"{len(places) - SHOWN} more partitions"] * (len(places) > SHOWN)
    return ", ".join([*places[:SHOWN], *more])


def _answered(spots: Mapping[Held, Spot], rows: Rows) -> Mapping[Held, TidelogError]:
    """Take note of a commit's answer, also of what has gone since; return what was refused."""
    by_key = {held.at: held for held in spots}
    failures: dict[Held, TidelogError] = {}
    for row in rows:
        if row.HasField("error"):
            held = by_key[row.partition.topic, row.partition.partition]
            error = failures[held] = failure_of_row(row.error).error
            if error.retryable:
                _take_back(held, spots[held])
    for held, spot in spots.items():
        if held not in failures:
            held.kept = spot[0]
            if held.asked is spot:
                held.committed = spot
    return failures


def _take_back(held: Held, spot: Spot) -> None:
    """Note that a commit was not done; another one may have been said behind it, or a seek."""
    if held.asked is spot:
        held.asked = held.committed

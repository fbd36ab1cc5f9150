"""`tidelog consume -g`: read as a member of a group; what was printed is committed."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final

from tidelog.cli.failure import CommandFailed, Exit
from tidelog.cli.places import start_of
from tidelog.cli.progress import Progress
from tidelog.cli.reading import Output, Reading, shown, wanted
from tidelog.cli.reasons import failure_of
from tidelog.cli.session import with_client

if TYPE_CHECKING:
    from tidelog.cli.run import Run
    from tidelog.client import Client
    from tidelog.consumer import Consumer
    from tidelog.types import Record, TopicPartition

COMMIT_EVERY_S: Final = 1.0
"""What was printed is committed so often, also where records never stop coming."""


def read_in_group(run: "Run", reading: Reading, group: str, *, placed: bool) -> int:
    """Print records that come to a group; return the exit code.

    `placed`: a place to begin at was asked for, which a group that has begun does not heed.
    """
    progress = Progress(run, "records read")

    async def work(client: "Client") -> int:
        if placed and await _has_begun(client, group, reading.topics):
            run.warn(
                f'group "{group}" goes on where it has committed; -o and --tail say where it '
                "begins where nothing is",
                hint=f"tidelog group seek {group} --to PLACE",
            )
        return await _Reader(run, reading, progress).run(client, group)

    try:
        return with_client(run, work)
    finally:
        progress.end()


async def _has_begun(client: "Client", group: str, topics: Sequence[str]) -> bool:
    """Tell whether a group has committed something in some topics."""
    from tidelog.errors import NotFound  # noqa: PLC0415 - loaded already

    try:
        rows = await client.groups.offsets(group, topics=topics)
    except NotFound:  # no such group, or topic: the join says which
        return False
    return any(row.committed is not None for row in rows)


class _Reader:
    """One run of the loop. A record is committed after it was written, not before."""

    def __init__(
        self,
        run: "Run",
        reading: Reading,
        progress: Progress,
        *,
        now: Callable[[], float] = time.monotonic,  # noqa: TID251 - the terminal's door
    ) -> None:
        self._now = now
        self._due_s = now() + COMMIT_EVERY_S
        self._run = run
        self._reading = reading
        self._progress = progress
        self._output = Output(run)
        self._printed = 0
        self._failed = False
        self._source: AsyncIterator[Record[bytes, bytes]] | None = None

    async def run(self, client: "Client", group: str) -> int:
        """Print until there are enough, or until Ctrl-C; then commit, and leave the group."""
        reading = self._reading
        consumer = client.consumer(
            *reading.topics,
            group=group,
            start=start_of(reading.read.start),
            clock=reading.clock,
            commit="manual",
            isolation="read_uncommitted" if reading.uncommitted else "read_committed",
            gaps="raise",
            on_revoked=self._commit,
        )
        async with consumer:  # leaving it calls `_commit`
            while not self._has_enough() and (record := await self._next(consumer)) is not None:
                if wanted(reading, record):
                    self._printed += 1
                    self._output.put(reading.printer(shown(record)))
                    self._progress.show(self._printed)
                if not consumer.buffered or self._now() >= self._due_s:
                    await self._commit(consumer)
        return Exit.FAILED if self._failed else Exit.DONE

    def _has_enough(self) -> bool:
        limit = self._reading.records_max
        return limit is not None and self._printed >= limit

    async def _next(self, consumer: "Consumer[bytes, bytes]") -> "Record[bytes, bytes] | None":
        """Return the next record; None at the end. What was lost on the way is told."""
        from tidelog.errors import DataCorrupt, LogGap  # noqa: PLC0415 - loaded already

        while True:
            try:
                if self._source is None:
                    self._source = consumer if self._reading.follow else consumer.until_caught_up()
                return await anext(self._source, None)
            except LogGap as gap:
                self._source = None
                self._output.write()
                self._run.warn(str(gap))
            except DataCorrupt as corrupt:
                self._source = None
                self._failed = True
                self._output.write()
                self._run.tell_failure(failure_of(corrupt) or CommandFailed(str(corrupt)))
                if corrupt.next_offset is None:
                    return None

    async def _commit(
        self, consumer: "Consumer[bytes, bytes]", partitions: "Sequence[TopicPartition]" = ()
    ) -> None:
        """Write what is printed, then commit it, unless it is another member's to read by now.

        Once something could not be written, nothing more is committed: it comes again.
        """
        from tidelog.errors import Fenced  # noqa: PLC0415 - loaded already

        del partitions  # everything is
        self._output.write()
        if self._output.failed:
            return
        try:
            await consumer.commit()
        except Fenced as fenced:
            self._run.warn(f"what was printed since the last commit may come again: {fenced}")
        self._due_s = self._now() + COMMIT_EVERY_S

"""A last look at the event times of segments that are about to be removed.

Of a segment whose event times nobody knows when it goes, nobody ever will: from then on every
answer by event time has to say `truncated`. So what would go is read first, a slice at a time
between everything else that the node does, also while it is busy. What cannot be read, because it
is damaged, goes unread: a damaged segment must not stay for ever.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from api.broker.context import BrokerContext
from api.broker.search import Searches
from logstore.partition_log import PartitionLog
from logstore.searchable import AnswerT, Search, SegmentGone
from logstore.time_search import learn_events
from model.errors import RequestError
from model.ids import Offset

TRIES: Final = 3
"""Looks at one segment. Its rows may be put out of memory before the last of them is learned."""


class LastLook:
    """Learns event times before segments go. Loop only."""

    def __init__(self, context: BrokerContext, searches: Searches) -> None:
        """Read through this node's searches."""
        self._node = context
        self._searches = searches

    @property
    def affordable(self) -> bool:
        """Whether the disk has room for segments that wait until they are read (P48)."""
        try:
            self._node.directory.accepts(0)
        except RequestError:
            return False
        return True

    async def take(self, log: PartitionLog, below: Offset, goes_on: Callable[[], bool]) -> None:
        """Learn the event times of the segments that go if the log starts at `below`.

        Returns when nothing more can be learned, when the log was deleted, or once `goes_on()` is
        false. Segments that are closed meanwhile are read too: whoever trims the log without
        waiting for anything else loses nothing that could be known.
        """
        tries: Counter[Offset] = Counter()
        while not log.deleted and goes_on():
            base = next((base for base in unread(log, below) if tries[base] < TRIES), None)
            if base is None:
                return
            tries[base] += 1
            try:
                await self._searches.run(log, as_long_as(learn_events(log, base), goes_on))
            except RequestError:
                tries[base] = TRIES  # damaged: told to whoever reads it, as long as it is there


def unread(log: PartitionLog, below: Offset) -> Iterator[Offset]:
    """Yield where the segments begin that go with a log start of `below` and were never read.

    The active segment never goes.
    """
    for segment in log.segment_list[:-1]:
        if segment.end_offset > below:
            return
        if not segment.event_bounds.known:
            yield segment.base_offset


def as_long_as(search: Search[AnswerT], holds: Callable[[], bool]) -> Search[AnswerT | None]:
    """Go through the steps of a search as long as `holds()`; return its answer if it came to one.

    What a search has learned until it is dropped stays known.
    """
    try:
        step = next(search)
        while holds():
            try:
                reply = yield step
            except SegmentGone as gone:
                step = search.throw(gone)
            else:
                step = search.send(reply)
    except StopIteration as ended:
        answer: AnswerT = ended.value
        return answer
    return None

"""Fetches the snapshot of a state partition from its leader, for a replica that has a log without.

Where the leader has none, its log reaches back to offset 0, and so may this one. Otherwise it asks
until it has one: the leader may be another one by then, or have none that reaches as far as this
replica's log begins, until it has made one.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from cluster.peer.snapshot import StatePart
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.state_doors import StateElsewhere
from cluster.state_partition.receipt import Receipt
from model.ids import MonotonicMs, Offset

AGAIN_MS: Final = 200
"""Before a leader is asked again that had nothing, or was not reached."""


class StateFetch:
    """One fetch. Loop only."""

    __slots__ = ("_asked", "_cancel", "_elsewhere", "_hosted", "_nobody", "_receipt", "_take")

    def __init__(
        self,
        hosted: HostedPartition,
        elsewhere: StateElsewhere,
        take: Callable[[bytes], None],
        *,
        nobody: Callable[[], None],
        at_least: Offset,
    ) -> None:
        """Begin, for a snapshot that reaches so far.

        `take` gets each file that is whole, later, and calls `again` if it is none. `nobody` is
        called each time that there is no leader to ask, also at once; it may call `stop`.
        """
        self._hosted = hosted
        self._elsewhere = elsewhere
        self._take = take
        self._nobody = nobody
        self._receipt = Receipt(hosted.log.id, at_least=at_least)
        self._asked = 0
        """Number of the question whose answer is waited for; others come late."""
        self._cancel: Callable[[], None] | None = None
        self._ask()

    def stop(self) -> None:
        """Ask no more."""
        self._asked += 1
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def again(self) -> None:
        """Begin anew in a while: what came is no snapshot."""
        self._receipt.begin_again()
        self._later()

    def _ask(self) -> None:
        self._cancel = None
        self._asked += 1
        leader = self._hosted.replica.follows
        if leader is None:
            self._later()
            self._nobody()
        else:
            done = partial(self._answered, self._asked)
            self._elsewhere.links.ask_state(leader, self._receipt.ask(), done)

    def _answered(self, asked: int, part: StatePart | None) -> None:
        if asked != self._asked:
            return
        useful = part is not None and self._receipt.take(part)
        if part is not None and part.offset is None and self._begins_late:
            self._hosted.replica.start_over()
            return
        file = self._receipt.file
        if file is not None:
            self._take(file)
        elif useful:
            self._ask()
        else:
            self._later()

    @property
    def _begins_late(self) -> bool:
        """Whether this log is empty, and begins where the leader's has no snapshot.

        So it is after an election that was declared lossy, which took what snapshots stood for. A
        leader that lacks replicas commits nothing and makes none: who waited would wait for ever.
        """
        log = self._hosted.log
        return self._hosted.replica.follows is not None and 0 < log.log_start == log.log_end

    def _later(self) -> None:
        clock = self._elsewhere.clock
        self._cancel = clock.call_at(MonotonicMs(clock.monotonic_ms() + AGAIN_MS), self._ask)

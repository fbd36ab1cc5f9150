"""What a leader knows of one follower: how far it is, how it is fed, what is under way to it.

A follower is *probed* until the leader knows where the two logs part: one request at a time, which
is repeated without its entries, as they may be long and on their way still. Then its log is
*replicated*: requests leave without waiting for answers, as far as its window reaches. One that
lacks what the leader has let go is sent the *snapshot*, one chunk at a time.

Invariants:
    RAFT_NEXT_IS_BEHIND_MATCHED   what a follower has durably is not sent again.
"""

from collections import deque
from enum import Enum

from cluster.raft.limits import RaftLimits
from cluster.raft.log import SnapshotFile
from model.ids import Index


class Feeding(Enum):
    """How a follower is fed."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One follower, in one leadership."""

    __slots__ = (
        "_limits",
        "_window",
        "_window_bytes",
        "active",
        "attempt",
        "chunk_sent",
        "feeding",
        "heard_round",
        "matched",
        "next",
        "offset",
        "probe_sent",
        "probed",
        "quiet",
        "silent_ticks",
        "snapshot",
        "told_commit",
    )

    def __init__(self, limits: RaftLimits, *, next_index: Index) -> None:
        """Believe that it has everything up to `next_index`, until it says."""
        self._limits = limits
        self._window: deque[tuple[Index, int]] = deque()
        self._window_bytes = 0
        self.matched = Index(0)
        """The newest entry that it is known to have, durably."""
        self.next = next_index
        """What to send next."""
        self.feeding = Feeding.PROBE
        self.attempt = 0
        """Counts the probings: what an earlier one had under way is refused without meaning."""
        self.probe_sent = False
        """A probe is under way; the next one waits for an answer or a heartbeat's."""
        self.probed = False
        """The entries of this probing have left: it is repeated without them."""
        self.active = True
        """It has been heard since the leader last counted its quorum."""
        self.silent_ticks = limits.election_ticks + 1
        """Since it was heard; who was not heard yet in this leadership may not be there."""
        self.heard_round = 0
        """The newest round of heartbeats that it has answered."""
        self.quiet = False
        """It has acknowledged nothing between its last two answers to heartbeats."""
        self.told_commit = Index(0)
        self.snapshot: SnapshotFile | None = None
        """What it is being sent; kept until it has it, also when there is a newer one."""
        self.offset = 0
        """Byte of it that comes next."""
        self.chunk_sent = False

    @property
    def has_room(self) -> bool:
        """Whether another append may leave."""
        if self.feeding is Feeding.PROBE:
            return not self.probe_sent
        return (
            self.feeding is Feeding.REPLICATE
            and len(self._window) < self._limits.window_appends_max
            and self._window_bytes < self._limits.window_bytes_max
        )

    @property
    def repeats_probe(self) -> bool:
        """Whether the next append asks once more what the last one did.

        An answer to it that comes before the first one's tells that the entries are lost.
        """
        return self.feeding is Feeding.PROBE and self.probed

    @property
    def under_way(self) -> int:
        """How many appends have left and were not acknowledged."""
        return len(self._window)

    def sent(self, last_index: Index, size_bytes: int) -> None:
        """Note an append that left: it ends with `last_index`."""
        if self.feeding is Feeding.PROBE:
            self.probe_sent = self.probed = True
            return
        self.next = Index(last_index + 1)
        if size_bytes:
            self._window.append((last_index, size_bytes))
            self._window_bytes += size_bytes

    def acknowledged(self, index: Index) -> bool:
        """Take an acknowledgement; tell whether it is news."""
        self.quiet = False
        while self._window and self._window[0][0] <= index:
            _, size_bytes = self._window.popleft()
            self._window_bytes -= size_bytes
        found = self.feeding is Feeding.PROBE and index >= self.next - 1
        news = index > self.matched
        if news:
            self.matched = index
            self.next = max(self.next, Index(index + 1))
        snapshot = self.snapshot
        if found or (snapshot is not None and index >= snapshot.last_index):
            self._replicate()
        return news

    def refused(self, prev_index: Index, *, attempt: int, retry: Index) -> bool:
        """Take a refusal of the entry `prev_index`; go back to `retry`. False: an old one."""
        assert self.matched < self.next, "RAFT_NEXT_IS_BEHIND_MATCHED"
        stale = attempt != self.attempt or prev_index <= self.matched
        if stale or self.feeding is Feeding.SNAPSHOT:
            return False
        self.probe(max(Index(self.matched + 1), min(retry, prev_index)))
        return True

    def probe(self, next_index: Index) -> None:
        """Find out anew where the follower is; forget what is under way."""
        self.feeding = Feeding.PROBE
        self.attempt += 1
        self.probe_sent = self.probed = False
        self.next = next_index
        self._forget()

    def begin_snapshot(self, snapshot: SnapshotFile) -> None:
        """Send a snapshot from its first byte on."""
        self._forget()
        self.feeding = Feeding.SNAPSHOT
        self.snapshot = snapshot
        self.offset = 0
        self.chunk_sent = False

    def received(self, last_index: Index, received: int) -> None:
        """Take the word of how much of the snapshot has arrived: go on from there."""
        snapshot = self.snapshot
        if snapshot is None or snapshot.last_index != last_index or received == self.offset:
            return  # said twice; were it answered twice, each chunk from here on would be
        self.offset = min(received, len(snapshot.content))
        self.chunk_sent = False

    def _replicate(self) -> None:
        self.feeding = Feeding.REPLICATE
        self.next = Index(self.matched + 1)
        self._forget()

    def _forget(self) -> None:
        self._window.clear()
        self._window_bytes = 0
        self.snapshot = None

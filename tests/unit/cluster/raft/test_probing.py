"""Finding out where a follower is, over links that are slow or lose things.

Who is asked again and again is not sent again and again what is long.
"""

from cluster.raft.messages import (
    AppendRefusal,
    AppendReply,
    AppendRequest,
    Heartbeat,
    HeartbeatReply,
    Message,
)
from model.ids import Index, Term
from tests.raft_solo import ONE, TWO, Solo

LARGE = 1 << 20
AT, LAST = Index(2), Index(3)
"""What the follower has, and the large entry behind it."""


class Link:
    """Between a leader and node 2, which answers; the test says what is lost and what is late."""

    def __init__(self, *, lost: frozenset[int] = frozenset(), late: bool = False) -> None:
        """Begin when the link was reset, with a large entry on its way.

        `lost`: of the appends on the new link, by number; the heartbeats come through.
        `late`: no append comes through at all, until `arrive`.
        """
        solo = self.solo = Solo()
        solo.lead()
        solo.acknowledge(TWO, AT)
        solo.propose(bytes(LARGE))
        solo.said.clear()
        solo.node.peer_gone(TWO)
        solo.collect()
        self.sent: list[AppendRequest] = []
        self._lost, self._late = lost, late
        self._has = AT

    @property
    def payload_bytes(self) -> int:
        """All that the leader has sent."""
        return sum(len(entry.payload) for one in self.sent for entry in one.entries)

    def beat(self, rounds: int = 1) -> None:
        """Let heartbeats be answered, and appends come through that are neither lost nor late."""
        for _ in range(rounds):
            self.solo.tick()
            self._carry()

    def arrive(self) -> None:
        """Let the oldest append that was late come through, and what it brings about."""
        self._late = False
        self._answer(self.sent[0])
        self._carry()

    def _carry(self) -> None:
        while self.solo.said:
            said, self.solo.said = self.solo.said, []
            for one in said:
                self._take(one)

    def _take(self, one: Message) -> None:
        if one.to != TWO:
            return
        if isinstance(one, Heartbeat):
            self.solo.hear(HeartbeatReply(TWO, ONE, one.term, one.round))
        if isinstance(one, AppendRequest):
            self.sent.append(one)
            if not self._late and len(self.sent) - 1 not in self._lost:
                self._answer(one)

    def _answer(self, one: AppendRequest) -> None:
        term = Term(one.term)
        if one.prev_index > self._has:
            head = (TWO, ONE, term, one.prev_index, one.attempt)
            self.solo.hear(AppendRefusal(*head, hint_index=self._has, hint_term=term))
            return
        end = Index(one.prev_index + len(one.entries))
        self._has = max(self._has, end)
        self.solo.hear(AppendReply(TWO, ONE, term, end))


def test_what_is_long_is_sent_once_however_often_the_follower_is_asked() -> None:
    link = Link(late=True)
    link.beat(100)
    assert len(link.sent) > 50, "it goes on asking"
    assert {one.prev_index for one in link.sent} == {AT}
    assert link.payload_bytes == LARGE
    link.arrive()
    link.beat(100)
    assert link.payload_bytes == LARGE
    assert link.solo.node.log.committed == LAST


def test_a_probe_that_is_lost_is_repeated() -> None:
    link = Link(lost=frozenset(range(5)))
    link.beat(10)
    assert [len(one.entries) for one in link.sent[:7]] == [1, *[0] * 5, 1]
    assert link.solo.node.log.committed == LAST


def test_entries_that_are_lost_again_are_sent_again() -> None:
    """First those of the probe, then those that follow its answer."""
    link = Link(lost=frozenset({0, 2}))
    link.beat(20)
    assert [len(one.entries) for one in link.sent[:5]] == [1, 0, 1, 0, 1]
    assert link.payload_bytes == 3 * LARGE
    assert link.solo.node.log.committed == LAST

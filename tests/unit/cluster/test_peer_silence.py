"""What counts as a sign of life, and what silence ends."""

from cluster.shell.peer_silence import LOOK_MS, PING_MS, SILENT_MS, Seen, Silence, Step
from model.ids import MonotonicMs


class Looked:
    """A link that is looked at as often as it is meant to be."""

    def __init__(self) -> None:
        self.now = 10_000
        self.received_at = self.heard_at = self.now
        self.written = self.unwritten = 0
        self.silence = Silence(MonotonicMs(self.now))

    def after(self, ms: int) -> Step:
        self.now += ms
        return self.silence.look(
            Seen(
                MonotonicMs(self.now),
                MonotonicMs(self.received_at),
                MonotonicMs(self.heard_at),
                self.written,
                self.unwritten,
            )
        )

    def steps(self, ms: int) -> list[tuple[int, Step]]:
        """Return what followed, and how long after the beginning, from so long a time."""
        began = 10_000
        looks = [(self.after(LOOK_MS), self.now - began) for _ in range(ms // LOOK_MS)]
        return [(at, step) for step, at in looks if step is not Step.NONE]


def test_a_link_is_pinged_once_it_is_quiet_and_ended_when_nothing_comes() -> None:
    assert Looked().steps(SILENT_MS) == [(PING_MS, Step.PING), (SILENT_MS, Step.END)]


def test_whoever_answers_lives_also_within_the_same_millisecond() -> None:
    link = Looked()
    for _ in range(10):
        assert link.steps(PING_MS)[-1][1] is Step.PING
        link.received_at = link.heard_at = link.now


def test_a_node_that_is_heard_on_its_own_link_lives_and_is_asked_again() -> None:
    link = Looked()
    for _ in range(40):
        link.heard_at = link.now
        assert link.after(LOOK_MS) is not Step.END
    assert [step for _, step in link.steps(SILENT_MS)] == [Step.PING, Step.END]


def test_what_the_kernel_takes_of_what_waited_is_a_sign() -> None:
    link = Looked()
    link.written = link.unwritten = 1 << 20
    for _ in range(40):
        link.unwritten -= 1_000
        assert link.after(LOOK_MS) is not Step.END


def test_what_the_kernel_takes_at_once_is_none() -> None:
    link = Looked()
    ends = []
    for _ in range(SILENT_MS // LOOK_MS):
        link.written += 1_000
        ends.append(link.after(LOOK_MS))
    assert ends[-1] is Step.END


def test_who_stood_still_itself_waits_for_the_answer_anew() -> None:
    link = Looked()
    assert link.steps(PING_MS) == [(PING_MS, Step.PING)]
    assert link.after(60_000) is Step.NONE
    assert [step for _, step in link.steps(PING_MS)] == [Step.END]
    link = Looked()
    assert link.steps(PING_MS) == [(PING_MS, Step.PING)]
    assert link.after(60_000) is Step.NONE
    link.received_at = link.now
    assert link.steps(PING_MS - LOOK_MS) == []


def test_who_stood_still_before_it_asked_asks_first() -> None:
    link = Looked()
    assert link.after(60_000) is Step.PING
    assert [step for _, step in link.steps(PING_MS)] == [Step.END]


def test_a_link_on_which_something_comes_is_looked_at_when_it_may_be_quiet() -> None:
    link = Looked()
    for _ in range(10):
        link.received_at = link.now + 600  # after the last look, before this one
        link.after(700)
        assert link.silence.wait_ms == PING_MS - 100
    assert link.after(link.silence.wait_ms) is Step.PING
    assert link.silence.wait_ms == LOOK_MS, "it is asked"


def test_a_link_on_which_something_waits_is_looked_at_often() -> None:
    link = Looked()
    link.written = link.unwritten = 1
    link.received_at = link.now + LOOK_MS
    link.after(LOOK_MS)
    assert link.silence.wait_ms == LOOK_MS


def test_who_slept_as_long_as_was_meant_did_not_stand_still() -> None:
    """The answer to a ping is waited for from then on, and no longer for that."""
    link = Looked()
    link.received_at = link.heard_at = link.now
    link.after(0)
    assert link.silence.wait_ms == PING_MS
    assert link.after(PING_MS) is Step.PING
    assert link.steps(PING_MS)[-1][1] is Step.END

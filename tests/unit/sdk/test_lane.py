"""One partition's batches: in order and in the log once, whatever the answers are.

The first half tells single stories; the last test runs the lane against a model of a node that
loses answers, refuses, and forgets, and reads the log that comes out.
"""

import random

import pytest

from tidelog.batch import Row
from tidelog.errors import TidelogError, error_of
from tidelog.lane import IN_FLIGHT_MAX, SEQUENCE_END, Identity, Lane, Settled
from tidelog.outgoing import Batch, Stored

ONE = Identity(1, 0)
TWO = Identity(2, 0)
LOST = error_of("UPSTREAM_LOST", "the connection broke")
BUSY = error_of("NOT_ENOUGH_REPLICAS", "one replica is missing")
GAP = error_of("OUT_OF_ORDER_SEQUENCE", "an earlier batch is missing")
WRONG = error_of("TIMESTAMP_OUT_OF_RANGE", "too far in the future")


class Nobody:
    """Stands for the records of a batch."""

    def settle(self, part: object) -> None:
        pass


def batch(value: str = "v", records: int = 1) -> Batch:
    made = Batch(Nobody())  # type: ignore[arg-type]
    made.rows = [Row(0, None, f"{value}{n}".encode()) for n in range(records)]
    made.size_bytes = 100 * records
    made.deadline_s = 100.0
    return made


def lane_of(*batches: Batch, idempotent: bool = True) -> Lane:
    lane = Lane(idempotent=idempotent)
    for one in batches:
        lane.add(one)
    return lane


def take_all(lane: Lane, identity: Identity | None = ONE) -> list[Batch]:
    taken = []
    while (one := lane.take(identity)) is not None:
        taken.append(one)
    return taken


def test_at_most_five_are_unanswered_and_sequences_count_records() -> None:
    batches = [batch(records=n) for n in (1, 3, 2, 1, 1, 4)]
    lane = lane_of(*batches)
    assert take_all(lane) == batches[:IN_FLIGHT_MAX]
    assert [one.stamp for one in batches[:5]] == [
        (1, 0, 0),
        (1, 0, 1),
        (1, 0, 4),
        (1, 0, 6),
        (1, 0, 7),
    ]
    lane.answered(batches[0], Stored(0, 0))
    assert take_all(lane) == [batches[5]]
    assert batches[5].stamp == (1, 0, 8)


def test_without_stamps_one_is_on_its_way() -> None:
    first, second = batch(), batch()
    lane = lane_of(first, second, idempotent=False)
    assert take_all(lane, None) == [first]
    assert first.stamp is None
    lane.answered(first, Stored(0, 0))
    assert take_all(lane, None) == [second]


def test_nothing_is_sent_before_there_is_a_producer_id() -> None:
    lane = lane_of(batch())
    assert lane.lacks(None)
    assert lane.take(None) is None
    assert not lane.lacks(ONE)


def test_a_broken_stream_sends_the_same_again_in_order() -> None:
    batches = [batch() for _ in range(3)]
    lane = lane_of(*batches)
    stamps = [one.stamp for one in take_all(lane)]
    assert lane.broken(LOST) == []
    assert take_all(lane) == batches
    assert [one.stamp for one in batches] == stamps
    assert all(one.doubt and one.tries == 1 for one in batches)


def test_without_a_stamp_a_broken_stream_is_the_end_of_it() -> None:
    first, second = batch(), batch()
    lane = lane_of(first, second, idempotent=False)
    take_all(lane, None)
    assert lane.broken(LOST) == [Settled(first, LOST)]
    assert take_all(lane, None) == [second]


def test_a_refused_batch_takes_those_behind_it_along() -> None:
    batches = [batch() for _ in range(3)]
    lane = lane_of(*batches)
    take_all(lane)
    assert lane.answered(batches[0], BUSY) == []
    assert lane.answered(batches[1], GAP) == []
    assert lane.answered(batches[2], GAP) == []
    assert lane.take(ONE) is None, "it rests"
    lane.resume()
    assert take_all(lane) == batches
    assert [one.stamp[2] for one in batches if one.stamp] == [0, 1, 2]


def test_what_is_behind_a_hole_gets_a_new_stamp() -> None:
    batches = [batch() for _ in range(3)]
    lane = lane_of(*batches)
    take_all(lane)
    assert lane.answered(batches[0], WRONG) == [Settled(batches[0], WRONG)]
    lane.answered(batches[1], GAP)
    lane.answered(batches[2], GAP)
    assert lane.lacks(ONE), "the old producer id is never taken again"
    assert lane.take(ONE) is None
    assert take_all(lane, TWO) == batches[1:]
    assert [one.stamp for one in batches[1:]] == [(2, 0, 0), (2, 0, 1)]


def test_behind_a_hole_nothing_new_goes_out_before_the_old_is_known() -> None:
    batches = [batch() for _ in range(2)]
    lane = lane_of(*batches)
    take_all(lane)
    lane.answered(batches[0], WRONG)
    late = batch()
    lane.add(late)
    assert lane.take(TWO) is None, "the second may be in the log, or not"
    lane.answered(batches[1], GAP)
    assert take_all(lane, TWO) == [batches[1], late]


def test_a_doubtful_batch_that_fails_is_in_doubt() -> None:
    one = batch()
    lane = lane_of(one)
    take_all(lane)
    lane.broken(LOST)
    take_all(lane)
    ((_, result),) = lane.answered(one, WRONG)
    assert isinstance(result, TidelogError)
    assert result.outcome == "unknown"
    assert "an earlier try may have stored it" in str(result)


def test_a_refusal_for_want_of_an_earlier_one_ends_the_doubt() -> None:
    first, second = batch(), batch()
    lane = lane_of(first, second)
    take_all(lane)
    lane.broken(LOST)
    take_all(lane)
    lane.answered(first, WRONG)
    lane.answered(second, GAP)
    assert take_all(lane, TWO) == [second]
    assert lane.answered(second, WRONG) == [Settled(second, WRONG)], "it is proven not to be stored"


def test_an_old_duplicate_is_stored_and_its_offset_unknown() -> None:
    one = batch()
    lane = lane_of(one)
    take_all(lane)
    lane.broken(LOST)
    take_all(lane)
    error = error_of("DUPLICATE_SEQUENCE", "long ago")
    assert lane.answered(one, error) == [Settled(one, Stored(None, None, duplicate=True))]


def test_a_lost_log_is_told_and_not_smoothed_over() -> None:
    one, behind = batch(), batch()
    lane = lane_of(one, behind)
    take_all(lane)
    assert lane.answered(one, GAP) == [Settled(one, GAP)]
    assert lane.answered(behind, GAP) == []
    assert take_all(lane, TWO) == [behind]


def test_a_forgotten_producer_goes_on_with_another_id() -> None:
    one = batch()
    lane = lane_of(one)
    take_all(lane)
    assert lane.answered(one, error_of("UNKNOWN_PRODUCER_ID", "expired")) == []
    lane.resume()
    assert take_all(lane, TWO) == [one]
    assert one.stamp == (2, 0, 0)


def test_a_batch_that_is_too_large_is_halved() -> None:
    large, behind = batch("l", 5), batch("b")
    lane = lane_of(large, behind)
    take_all(lane)
    assert lane.answered(large, error_of("RECORD_TOO_LARGE", "too large")) == []
    lane.answered(behind, GAP)
    sent = take_all(lane, TWO)
    assert [row.value for one in sent for row in one.rows] == [
        b"l0",
        b"l1",
        b"l2",
        b"l3",
        b"l4",
        b"b0",
    ]
    assert [len(one.rows) for one in sent] == [2, 3, 1]
    assert [one.first for one in sent] == [0, 2, 0]


def test_one_record_that_is_too_large_fails() -> None:
    one = batch()
    lane = lane_of(one)
    take_all(lane)
    error = error_of("RECORD_TOO_LARGE", "too large")
    assert lane.answered(one, error) == [Settled(one, error)]


def test_the_budget_ends_a_batch_and_says_whether_it_may_be_stored() -> None:
    refused, doubtful = lane_of(batch()), lane_of(batch())
    for lane, error in ((refused, BUSY), (doubtful, LOST)):
        (one,) = take_all(lane)
        lane.answered(one, error)
        assert lane.expire(99.9) == []
    ((_, not_stored),) = refused.expire(100.0)
    ((_, unknown),) = doubtful.expire(100.0)
    assert isinstance(not_stored, TidelogError)
    assert isinstance(unknown, TidelogError)
    assert (not_stored.outcome, unknown.outcome) == ("not_done", "unknown")
    assert "gave up after 100 s and 1 try" in str(not_stored)


def test_a_budget_that_ends_before_anything_was_sent() -> None:
    lane = lane_of(batch())
    nobody = error_of("LEADER_NOT_AVAILABLE", "nobody there")
    assert lane.expire(99.0, nobody) == []
    ((_, result),) = lane.expire(101.0, nobody)
    assert isinstance(result, TidelogError)
    assert result.outcome == "not_done"


def test_sequences_wrap_at_two_to_the_31() -> None:
    lane = lane_of(batch(records=3), batch())
    lane._identity, lane._sequence = ONE, SEQUENCE_END - 3
    first, second = take_all(lane)
    assert first.stamp == (1, 0, SEQUENCE_END - 3)
    assert second.stamp == (1, 0, 0)


class Node:
    """A model of a node: one partition's log, and what it remembers of producers."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self.last: dict[tuple[int, int], int] = {}
        self.known: dict[tuple[int, int, int], int] = {}

    def produce(self, one: Batch) -> Stored | TidelogError:
        assert one.stamp is not None
        producer, sequence = one.stamp[:2], one.stamp[2]
        if one.stamp in self.known:
            return Stored(self.known[one.stamp], 0, duplicate=True)
        if sequence != self.last.get(producer, 0):
            return GAP
        self.known[one.stamp] = len(self.log)
        self.log += [row.value or b"" for row in one.rows]
        self.last[producer] = sequence + len(one.rows)
        return Stored(self.known[one.stamp], 0)


class World:
    """A lane, its node, and a stream between them on which anything may happen."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.node, self.lane = Node(), Lane(idempotent=True)
        self.batches = [batch(f"{n}.", self.chance.randrange(1, 4)) for n in range(30)]
        self.pending = list(self.batches)
        self.stream: list[Batch] = []
        self.identity = Identity(1, 0)
        self.settled: dict[int, Stored | TidelogError] = {}

    def run(self) -> None:
        while len(self.settled) < len(self.batches):
            step = self.chance.random()
            if step < 0.3 and self.pending:
                self.lane.add(self.pending.pop(0))
            elif step < 0.6:
                self.send()
            elif step < 0.95 and self.stream:
                self.answer()
            else:
                self.cut()

    def send(self) -> None:
        if self.lane.lacks(self.identity):
            self.identity = Identity(self.identity.producer_id + 1, 0)
        one = self.lane.take(self.identity)
        if one is not None:
            self.stream.append(one)

    def answer(self) -> None:
        one = self.stream.pop(0)
        if self.chance.random() < 0.1:
            answer: Stored | TidelogError = self.chance.choice([BUSY, WRONG])
        else:
            answer = self.node.produce(one)
            if self.chance.random() < 0.1:
                answer = LOST  # it was stored, and the node says that it does not know
        self.settle(self.lane.answered(one, answer))
        if self.lane.paused and not self.lane.in_flight:
            self.lane.resume()

    def cut(self) -> None:
        for one in self.stream[: self.chance.randrange(len(self.stream) + 1)]:
            self.node.produce(one)  # stored, and never answered
        self.stream.clear()
        self.settle(self.lane.broken(LOST))
        self.lane.resume()

    def settle(self, results: list[Settled]) -> None:
        for one, result in results:
            assert id(one) not in self.settled, "settled twice"
            self.settled[id(one)] = result


@pytest.mark.parametrize("seed", range(200))
def test_once_and_in_order_whatever_happens(seed: int) -> None:
    world = World(seed)
    world.run()
    log, wanted, doubtful = world.node.log, list[bytes](), set[bytes]()
    for one in world.batches:
        result = world.settled[id(one)]
        values = [row.value or b"" for row in one.rows]
        if isinstance(result, Stored):
            wanted += values
            assert result.base_offset is not None
            assert log[result.base_offset : result.base_offset + len(values)] == values
        elif result.outcome == "unknown":
            doubtful.update(values)
        else:
            assert not set(values) & set(log), "not done, and yet in the log"
    assert len(log) == len(set(log)), "stored twice"
    assert [value for value in log if value not in doubtful] == wanted, "out of order, or lost"

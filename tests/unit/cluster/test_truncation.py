"""Where two logs part, told by epochs; against logs that leaders really wrote."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.peer.replica import NO_EPOCH
from cluster.replication.log_state import Extent
from cluster.replication.truncation import Parting, cut_at, parting
from logstore.leader_epochs import LeaderEpochs
from model.ids import LeaderEpoch, Offset
from tests.replica import epochs


def extent(log_end: int, log_start: int = 0) -> Extent:
    return Extent(Offset(log_start), Offset(log_end))


def parts(table: LeaderEpochs, end: int, *, last_epoch: int, log_end: int) -> Parting | None:
    return parting(table, extent(end), last_epoch=LeaderEpoch(last_epoch), log_end=Offset(log_end))


def at(epoch: int, end: int) -> Parting:
    return Parting(LeaderEpoch(epoch), Offset(end))


@pytest.mark.parametrize(
    ("last_epoch", "log_end", "answer"),
    [
        (4, 12, None),
        (4, 20, None),
        (4, 21, at(4, 20)),
        (1, 10, None),
        (1, 11, at(1, 10)),  # more of epoch 1 than its last leader kept
        (3, 30, at(1, 10)),  # an epoch that wrote nothing here (KIP-279)
        (0, 3, at(NO_EPOCH, 0)),
        (NO_EPOCH, 0, None),
    ],
)
def test_the_leaders_answer(last_epoch: int, log_end: int, answer: Parting | None) -> None:
    found = parts(epochs(e1=0, e4=10), 20, last_epoch=last_epoch, log_end=log_end)
    assert found == answer


def test_below_the_leaders_log_start_nothing_can_be_continued() -> None:
    def answer(last_epoch: int, log_end: int) -> Parting | None:
        return parting(
            epochs(e4=50),
            extent(90, 50),
            last_epoch=LeaderEpoch(last_epoch),
            log_end=Offset(log_end),
        )

    assert answer(4, 49) == at(NO_EPOCH, 50)
    assert answer(3, 60) == at(NO_EPOCH, 50)
    assert answer(NO_EPOCH, 0) == at(NO_EPOCH, 50)
    assert answer(NO_EPOCH, 50) is None
    assert answer(NO_EPOCH, 60) is None
    assert answer(NO_EPOCH, 91) == at(NO_EPOCH, 50)
    assert answer(4, 50) is None
    assert answer(3, 50) is None


@pytest.mark.parametrize(
    ("told", "cut"),
    [(at(4, 12), 12), (at(4, 30), 20), (at(3, 30), 10), (at(1, 7), 7), (at(0, 9), 5)],
)
def test_the_followers_cut(told: Parting, cut: int) -> None:
    assert cut_at(epochs(e1=5, e4=10), extent(20, 5), told) == cut


@dataclass
class Replica:
    """A log as pairs of epoch and a number that no other record has, with its table."""

    records: list[tuple[int, int]] = field(default_factory=list)
    table: LeaderEpochs = field(default_factory=LeaderEpochs)

    def append(self, record: tuple[int, int]) -> None:
        self.table.appended(LeaderEpoch(record[0]), Offset(len(self.records)))
        self.records.append(record)

    def cut(self, end: int) -> None:
        del self.records[end:]
        self.table.roll_back(Offset(end))

    @property
    def extent(self) -> Extent:
        return extent(len(self.records))

    @property
    def last_epoch(self) -> LeaderEpoch:
        return NO_EPOCH if self.table.latest is None else self.table.latest


def align(leader: Replica, follower: Replica) -> int:
    """Let a follower ask and cut until it matches; return how often it was told to cut."""
    for rounds in range(20):
        told = parting(
            leader.table,
            leader.extent,
            last_epoch=follower.last_epoch,
            log_end=follower.extent.log_end,
        )
        if told is None:
            return rounds
        anew = told.epoch == NO_EPOCH
        end = told.end_offset if anew else cut_at(follower.table, follower.extent, told)
        assert end < follower.extent.log_end
        follower.cut(end)
    raise AssertionError("it never matches")


def common(one: Replica, other: Replica) -> int:
    count = 0
    for mine, its in zip(one.records, other.records, strict=False):
        if mine != its:
            break
        count += 1
    return count


steps = st.tuples(
    st.integers(0, 2),  # who is elected
    st.integers(0, 3),  # how much it appends
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=2),  # who copies how much
)


@given(st.lists(steps, min_size=1, max_size=8))
def test_after_any_elections_what_is_kept_is_what_both_have(
    reigns: list[tuple[int, int, list[tuple[int, int]]]],
) -> None:
    """Elections here ask nobody and lose what they like; what is shared is found all the same."""
    replicas = [Replica() for _ in range(3)]
    number = 0
    for epoch, (elected, appends, copies) in enumerate(reigns, start=1):
        leader = replicas[elected]
        for _ in range(appends):
            number += 1
            leader.append((epoch, number))
        for copier, count in copies:
            if copier == elected:
                continue
            follower = replicas[copier]
            shared = common(leader, follower)
            align(leader, follower)
            assert len(follower.records) == shared
            for record in leader.records[shared : shared + count]:
                follower.append(record)

"""From work to files and back."""

from random import Random

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Operation
from cluster.raft.entry_log import DIRECTORY
from cluster.raft.member import SOMEBODY
from cluster.raft.quorum_state import NAME
from cluster.raft.ready import DiskWork, Durable, HardState
from cluster.raft.stable import open_member
from cluster.raft.storage import RaftStorage, start_from
from cluster.raft.voters import Voter
from model.errors import DirectoryRefused
from model.ids import Index, Term
from tests.raft_solo import FOUR, ONE, TRIO, TWO, Solo, entry, snapshot, terms, voter

DURABLE = Durable(1, 0, Index(0))


def opened(on: SimDisk, *, me: Voter = ONE, voters: tuple[Voter, ...] = TRIO) -> RaftStorage:
    stable = open_member(on, Random(1), me=me, voters=voters, file_bytes_max=100)
    return RaftStorage(stable, me=me)


def started(on: SimDisk, *, voters: tuple[Voter, ...] = TRIO) -> Solo:
    stable = open_member(on, Random(1), me=ONE, voters=voters, file_bytes_max=100)
    return Solo.of(start_from(stable, me=ONE))


def test_an_empty_directory_begins_as_it_is_told() -> None:
    solo = started(SimDisk())
    assert (solo.node.term, solo.node.configuration.voters, solo.log) == (0, TRIO, [])


def test_what_is_durable_is_there_again() -> None:
    on = SimDisk()
    storage = opened(on)
    state = HardState(Term(3), TWO, TRIO)
    storage.perform(DiskWork(state, None, None, terms(1, 1, 3), DURABLE))
    storage.perform(DiskWork(None, None, Index(3), (entry(3, 3, b"other"),), DURABLE))
    on.power_cut(lambda pending: pending.nothing)
    solo = started(on)
    assert (solo.node.term, solo.node._member.voted_for) == (3, TWO)
    assert solo.node.log.read(Index(3), Index(4)) == (entry(3, 3, b"other"),)


def test_a_leaders_snapshot_takes_the_place_of_the_log() -> None:
    on = SimDisk()
    storage = opened(on)
    storage.perform(DiskWork(HardState(Term(9), None, TRIO), None, None, terms(1, 1, 1), DURABLE))
    file = snapshot(2, 7)
    storage.perform(DiskWork(None, file, None, (entry(3, 9),), DURABLE))
    on.power_cut(lambda pending: pending.nothing)
    solo = started(on)
    assert (solo.log, solo.node.log.committed, solo.node.log.snapshot) == ([(3, 9)], 2, file)


def test_ones_own_snapshot_lets_the_front_go() -> None:
    on = SimDisk()
    storage = opened(on)
    storage.perform(DiskWork(HardState(Term(1), None, TRIO), None, None, terms(1, 1), DURABLE))
    storage.perform(DiskWork(None, None, None, (entry(3, 1),), DURABLE))
    storage.keep(snapshot(2, 1))
    storage.discard(Index(2))
    storage.discard(Index(99))
    storage.close()
    assert len(on.list(DIRECTORY)) == 2  # vote, snapshot: the whole log lay below 99


def test_the_term_is_durable_before_its_entries() -> None:
    on = SimDisk()
    storage = opened(on)
    seen: list[tuple[Operation, str]] = []
    on.before = lambda operation, name, _: seen.append((operation, name))
    storage.perform(DiskWork(HardState(Term(1), None, TRIO), None, None, terms(1), DURABLE))
    names = [name for operation, name in seen if operation is Operation.WRITE]
    assert [NAME in name for name in names] == [True, False]


@pytest.mark.parametrize("candidate", [FOUR, SOMEBODY, voter(2, directory=9)])
def test_a_vote_for_who_is_no_voter_is_a_vote_all_the_same(candidate: Voter) -> None:
    on = SimDisk()
    storage = opened(on)
    given = candidate if candidate.node >= 0 else FOUR
    storage.perform(DiskWork(HardState(Term(3), given, TRIO), None, None, (), DURABLE))
    found = started(on).node._member.voted_for
    assert found not in {None, given} or found == TWO


def test_who_joins_is_no_voter_until_the_log_says_so() -> None:
    solo = started(SimDisk(), voters=(TWO, FOUR))
    assert solo.tick(50) == []


def test_a_directory_that_was_copied_is_refused() -> None:
    on = SimDisk()
    opened(on).perform(DiskWork(HardState(Term(1), None, TRIO), None, None, (), DURABLE))
    with pytest.raises(DirectoryRefused, match="it was copied"):
        opened(on, me=voter(1, directory=9))

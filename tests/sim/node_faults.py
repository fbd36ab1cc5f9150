"""Faults planted in whole nodes, by the invariant of the simulator that each of them breaks.

Each is what someone might write, put into the product through its own modules. Where a node's own
assertions end it before anybody else could see, the fault is in what it shows of itself.
"""

import asyncio
from dataclasses import replace
from typing import Any, Final, NamedTuple

import pytest

from api.broker import fetch
from api.broker.acks import Accepted
from api.sim import world
from api.sim.plan import LEADER, MACHINES, Fault, Kind
from cluster.raft import stable, storage
from cluster.raft.entry_log import DIRECTORY
from cluster.raft.quorum_state import QuorumState, save
from cluster.replication.high_watermark import CommitRule, Isr
from cluster.replication.leader import PartitionLeader
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.raft_status import status_of
from cluster.shell.replica import Replica
from consumer_groups import offsets
from consumer_groups.requests import Cursor
from logstore.producer_state import FRESH, Fresh, ProducerState
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, Offset, PartitionId, Term
from tests.models import replication_faults

STEPS_MAX: Final = 20_000
"""Enough for a run that does not turn in circles to form its cluster."""
HEAL_MS: Final = 15_000
"""Enough for a run in which nothing is broken."""


class Planted(NamedTuple):
    """What is put where, and the weather in which it shows."""

    where: object
    """A class, a module, or the name of one."""
    name: str
    fault: Any
    weather: tuple[Fault, ...] = ()


# Partitions, and who leads them.


def leads_once_anybody_does(self: HostedPartition) -> bool:
    return self.replica.assignment.leader is not None


def has_no_epoch_unless_it_leads(self: HostedPartition, *given: Any) -> Any:
    due = _changed(self, *given)
    if not self.leads:
        self.leader_epoch = LeaderEpoch(0)
    return due


def forgets_its_mark_with_its_leadership(self: HostedPartition) -> None:
    _ended(self)
    self._mark = self.log.high_watermark = self.log.log_start


def follower_takes_all_it_has_for_committed(self: HostedPartition, mark: Offset) -> None:
    _advanced(self, self.log.log_end if self.replica.leader is None else mark)


def commits_what_enough_have(held: Offset, ends: Any, *, isr: Isr, rule: CommitRule) -> Offset:
    flushed = sorted((ends[node].flushed for node in isr.maximal), reverse=True)
    enough = rule.min_insync_replicas
    return held if len(flushed) < enough else max(held, flushed[enough - 1])


def leads_without_what_it_does_not_know_to_be_committed(self: Replica, *given: Any) -> None:
    log = self._host.log
    if log.log_end > log.high_watermark:
        log.truncate(log.high_watermark)
    _begin(self, *given)


def starts_without_what_it_does_not_know_to_be_committed(
    self: HostedPartition, topic: Any, number: int, **doors: Any
) -> None:
    log = doors["log"]
    if log.log_end > log.high_watermark:
        log.truncate(log.high_watermark)
    _host(self, topic, number, **doors)


def nobody_joins(*_: object) -> bool:
    return False


def looks_again_at_once(self: HostedPartition, now: Any) -> None:
    _tick_ended(self, now)
    asyncio.get_running_loop().call_soon(looks_again_at_once, self, now)


# The quorum.


def tells_an_older_term(node: Any) -> Any:
    return status_of(node)._replace(term=Term(1))


def writes_no_vote(*given: Any) -> QuorumState:
    return replace(_to_file(*given), voted_for=None)


def forgets_its_vote_at_a_start(disk: Any, **named: Any) -> QuorumState:
    state = replace(_open_state(disk, **named), voted_for=None)
    save(disk, DIRECTORY, state)
    return state


# Records, on their way in and out.


def tells_everybody_the_same_place(self: Accepted, error: RequestError | None) -> None:
    self.offsets = [Offset(0)] * len(self.offsets)
    _tell(self, error)


def takes_what_does_not_follow_for_a_new_beginning(
    self: ProducerState, *batch: Any, records: int
) -> Fresh:
    del records
    self.make_way(*batch, offset=self._settled)
    return FRESH


def forgets_a_producer_when_there_is_another(
    self: ProducerState, producer_id: Any, *given: Any, **named: Any
) -> Any:
    if len(self) > 1:
        self._producers.pop(producer_id, None)
    return _check(self, producer_id, *given, **named)


def takes_no_batch_for_whole(*_: Any, **__: Any) -> Any:
    raise RequestError(ErrorCode.CORRUPT_BATCH, "the checksum does not match")


def shows_what_is_not_committed(self: Any, partition: Any, *given: Any, **named: Any) -> Any:
    mark, partition._mark = partition._mark, partition.log.log_end
    try:
        return _read_one(self, partition, *given, **named)
    finally:
        partition._mark = mark


def passes_over_records(self: Any, partition: Any, want: Any, *given: Any, **named: Any) -> Any:
    if 0 < want.offset < partition.high_watermark - 6:
        want = want._replace(offset=want.offset + 5)
    return _read_one(self, partition, want, *given, **named)


def commits_one_less(group: Any, cursor: Any, **named: Any) -> Any:
    return _committed(group, replace(cursor, offset=max(0, cursor.offset - 1)), **named)


_before: Final[dict[PartitionId, Cursor]] = {}


def takes_back_the_commit_before(group: Any, cursor: Cursor, **named: Any) -> Any:
    """Answer that this one is done, and do the one that came before it once more."""
    before = _before.get(cursor.partition, cursor)
    _before[cursor.partition] = cursor
    return _committed(group, before, **named)


_changed: Final = HostedPartition.changed
_ended: Final = HostedPartition.ended
_advanced: Final = HostedPartition.advanced
_host: Final = HostedPartition.__init__
_tick_ended: Final = HostedPartition.tick_ended
_begin: Final = Replica._begin
_to_file: Final = storage._to_file
_open_state: Final = stable._open_state
_tell: Final = Accepted.tell
_check: Final = ProducerState.check
_read_one: Final = fetch._Running._read_one
_committed: Final = offsets._committed

KILLED: Final = (Fault(500, Kind.KILL, LEADER, 1_000), Fault(3_500, Kind.KILL, LEADER, 800))
ALL_KILLED: Final = tuple(
    Fault(500 + 2_500 * at, Kind.KILL, machine, 1_500) for at, machine in enumerate(MACHINES)
)
ISOLATED: Final = (Fault(500, Kind.ISOLATE, LEADER, 4_500),)
TWO_ISOLATED: Final = tuple(Fault(500, Kind.ISOLATE, one, 5_000) for one in MACHINES[1:])
PAUSED: Final = (Fault(500, Kind.PAUSE, LEADER, 4_000),)
SLOW: Final = tuple(Fault(200, Kind.SLOW_WAYS, one, 5_000) for one in MACHINES)
SLOW_AND_KILLED: Final = (*SLOW, Fault(1_500, Kind.KILL, LEADER, 1_000))

FAULTS: Final[dict[str, tuple[Planted, ...]]] = {
    "ONE_LEADER_AN_EPOCH": (Planted(HostedPartition, "leads", property(leads_once_anybody_does)),),
    "EPOCHS_NEVER_FALL": (
        Planted(HostedPartition, "changed", has_no_epoch_unless_it_leads, KILLED),
    ),
    "MARK_NEVER_FALLS": (
        Planted(HostedPartition, "ended", forgets_its_mark_with_its_leadership, PAUSED),
    ),
    "SHOWN_MARK_NEVER_FALLS": (
        Planted(
            PartitionLeader, "high_watermark", property(replication_faults.shows_any_mark),
            SLOW_AND_KILLED,
        ),
    ),
    "COMMITTED_IS_FOREVER": (
        Planted(
            replication_faults.LEADER, "parting", replication_faults.believes_that_logs_match,
            ISOLATED,
        ),
    ),
    "MARK_IS_A_LEADERS": (
        Planted(HostedPartition, "advanced", follower_takes_all_it_has_for_committed, SLOW),
    ),
    "LEADER_HOLDS_COMMITTED": (
        Planted(
            Replica, "_begin", leads_without_what_it_does_not_know_to_be_committed, SLOW_AND_KILLED
        ),
    ),
    "CANDIDATE_HOLDS_COMMITTED": (
        Planted(replication_faults.LEADER, "high_watermark", commits_what_enough_have, ISOLATED),
    ),
    "FLUSHED_SURVIVES": (
        Planted(
            HostedPartition, "__init__", starts_without_what_it_does_not_know_to_be_committed,
            SLOW_AND_KILLED,
        ),
    ),
    "ONE_LEADER_A_TERM": (
        Planted("cluster.shell.raft_quorum", "status_of", tells_an_older_term, ALL_KILLED),
    ),
    "VOTES_ARE_DURABLE": (
        Planted(storage, "_to_file", writes_no_vote),
        Planted(stable, "_open_state", forgets_its_vote_at_a_start, ALL_KILLED),
    ),
    "ACKED_ONCE": (Planted(Accepted, "tell", tells_everybody_the_same_place),),
    "ORDER_IS_KEPT": (
        Planted(
            ProducerState, "check", takes_what_does_not_follow_for_a_new_beginning, TWO_ISOLATED
        ),
    ),
    "SEQUENCES_ARE_KEPT": (
        Planted(ProducerState, "check", forgets_a_producer_when_there_is_another),
    ),
    "READ_IS_COMMITTED": (
        Planted(fetch._Running, "_read_one", shows_what_is_not_committed, SLOW),
        Planted(fetch._Running, "_read_one", passes_over_records, KILLED),
    ),
    "COMMITS_NEVER_FALL": (
        Planted(offsets, "_committed", commits_one_less),
        Planted(offsets, "_committed", takes_back_the_commit_before, ISOLATED),
    ),
    "NO_BUG_IS_TOLD": (Planted(ProducerState, "check", takes_no_batch_for_whole),),
    "PROGRESS_AFTER_HEALING": (Planted(PartitionLeader, "_may_join", nobody_joins, KILLED),),
    "IT_COMES_TO_AN_END": (Planted(HostedPartition, "tick_ended", looks_again_at_once),),
}  # fmt: skip


def plant(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a fault in; a run that does not come to its end by it ends soon."""
    where = planted.where
    if isinstance(where, str):
        monkeypatch.setattr(f"{where}.{planted.name}", planted.fault)
    else:
        monkeypatch.setattr(where, planted.name, planted.fault)
    if planted.fault is looks_again_at_once:
        monkeypatch.setattr(world, "STEPS_MAX", STEPS_MAX)
    elif planted.fault is nobody_joins:
        monkeypatch.setattr(world, "HEAL_MS", HEAL_MS)

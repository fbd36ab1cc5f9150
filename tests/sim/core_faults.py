"""Faults planted in the cores of the quorum, of replication and of groups, by what they break.

The worlds of `tests/sim` judge these cores; each has a test of its own with faults that somebody
might write. Here are those for every invariant that no such test breaks.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from api.broker import read_on
from api.broker.consume_starts import Starts
from cluster.raft import candidate, snapshot
from cluster.raft.entry import EntryKind
from cluster.raft.log import RaftLog
from cluster.raft.messages import AppendReply, VoteReply
from cluster.raft.node import RaftNode
from cluster.raft.quorum import Tally
from cluster.replication.catch_up import Sender
from cluster.replication.leader import PartitionLeader
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.raft_quorum import RaftQuorum
from cluster.shell.raft_waiting import Waiting
from cluster.state_partition.layout import CONSUMER_OFFSETS
from consumer_groups import offsets
from model.ids import Index, Offset
from tests.sim import groups, quorum, raft, raft_member
from tests.sim.groups_member import Client
from tests.sim.replication_world import World


class Planted(NamedTuple):
    """What is put where, and a seed from which on it is looked for."""

    run: Callable[[int], object]
    invariant: str
    where: object
    name: str
    fault: Any
    seed: int = 0


# The quorum.


def says_at_once(*kinds: type) -> Callable[[Any], Any]:
    """Return how messages of some kinds leave before the disk has what they say."""

    def sort(self: RaftNode) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        outbox = self._member.outbox
        early = tuple(one for one in outbox if isinstance(one, kinds))
        self._member.outbox = [one for one in outbox if not isinstance(one, kinds)]
        at_once, later = _sort(self)
        return (*early, *at_once), later

    return sort


def believes_what_is_before(self: RaftLog, prev: tuple[Index, Any], entries: Any) -> bool:
    known = self.term_at(prev[0])
    return _merge(self, (prev[0], prev[1] if known is None else known), entries)


def mishears_an_entry(self: RaftLog, prev: tuple[Index, Any], entries: Any) -> bool:
    heard = [
        replace(one, payload=one.payload[:-1]) if one.kind == EntryKind.RECORDS else one
        for one in entries
    ]
    return _merge(self, prev, heard)


def commits_what_it_is_told(self: RaftLog, index: Index) -> bool:
    if 0 < index < self.committed:
        self.committed = Index(max(index, self._before))
        return False
    return _commit(self, index)


def half_a_snapshot(content: bytes) -> Any:
    whole = _decode(content)
    return replace(whole, payload=whole.payload[:8] + bytes(4) + whole.payload[12:])


def passes_over_one(self: RaftNode) -> tuple[Any, tuple[Any, ...]]:
    restored, entries = _deliver(self)
    return restored, entries[1:] if len(entries) > 2 else entries


def wins_with_its_own_vote(_: object, votes: Any) -> Tally:
    return Tally.WON if any(votes.values()) else Tally.OPEN


def never_wins(*_: object) -> Tally:
    return Tally.OPEN


def answers_everybody(self: Waiting, _: Index) -> None:
    waiters, self._waiters = self._waiters, []
    for one in waiters:
        if not one.future.done():
            one.future.set_result(None)


def says_that_nothing_is_done(self: Waiting, _: object, others: Any) -> None:
    _fail(self, others, others)


def answers_nobody(*_: object) -> None:
    return None


async def asks_nobody(_: RaftQuorum) -> None:
    return None


def stops_behind_a_change(self: RaftQuorum, step: Any) -> None:
    _published(self, step)
    if "last" in self.image.topics and not self.leads:
        self.stop()


# Replication.


def gives_room_for_what_it_sends(self: Sender[Any], grant: Any, size_bytes: int) -> None:
    _done(self, grant, -size_bytes)


def nobody_joins(*_: object) -> bool:
    return False


# Groups.


def anybody_commits(*_: object) -> bool:
    return True


def never_full(_: object) -> None:
    return None


def commits_one_less(group: Any, cursor: Any, **named: Any) -> Any:
    return _committed(group, replace(cursor, offset=max(0, cursor.offset - 1)), **named)


async def begins_at_the_start(self: Starts, principal: Any, partitions: Any, _: object) -> Any:
    return await _places(self, principal, partitions, {})


def starts_without_its_last_change(
    self: HostedPartition, topic: Any, number: int, **doors: Any
) -> None:
    log = doors["log"]
    if topic.name == CONSUMER_OFFSETS and log.log_end > log.log_start + 1:
        log.truncate(log.log_end - 1)
    _host(self, topic, number, **doors)


def passes_over_a_record(*fields: Any) -> read_on.Step:
    step = _step(*fields)
    hole = step.next_offset > step.start_offset + 1
    return step._replace(start_offset=Offset(step.start_offset + 1)) if hole else step


def works_on_all_but_the_last(self: Client, held: Any, to: int) -> None:
    _finish(self, held, to)
    for done in self.world.processed.values():
        done.discard(to - 1)


_finish: Final = Client._finish
_sort, _deliver = RaftNode._sort_messages, RaftNode._deliver
_merge, _commit = RaftLog.merge, RaftLog.commit
_decode: Final = snapshot.decode
_fail: Final = Waiting.fail
_published: Final = RaftQuorum.published
_done: Final = Sender.done
_committed: Final = offsets._committed
_places: Final = Starts._places
_host: Final = HostedPartition.__init__
_step: Final = read_on.Step


def of_replication(seed: int) -> None:
    """Run a seed of the replication world."""
    World(seed).run()


FAULTS: Final = (
    Planted(raft.run, "ELECTION_SAFETY", candidate, "majority_vote", wins_with_its_own_vote, 3),
    Planted(raft.run, "LOG_MATCHING", RaftLog, "merge", mishears_an_entry),
    Planted(raft.run, "STATE_MACHINE_SAFETY", RaftLog, "merge", believes_what_is_before, 32),
    Planted(raft.run, "COMMITTED_NEVER_FALLS", RaftLog, "commit", commits_what_it_is_told),
    Planted(raft.run, "SNAPSHOT_IS_REPLAY", raft_member, "decode", half_a_snapshot),
    Planted(raft.run, "APPLIED_IN_ORDER", RaftNode, "_deliver", passes_over_one),
    Planted(raft.run, "VOTE_IS_DURABLE", RaftNode, "_sort_messages", says_at_once(VoteReply)),
    Planted(raft.run, "ACK_IS_DURABLE", RaftNode, "_sort_messages", says_at_once(AppendReply)),
    Planted(raft.run, "PROGRESS_AFTER_HEALING", candidate, "majority_vote", never_wins),
    Planted(quorum.run, "ANSWERED_STAYS", Waiting, "reached", answers_everybody),
    Planted(quorum.run, "NOT_DONE_IS_NOT_THERE", Waiting, "fail", says_that_nothing_is_done, 7),
    Planted(quorum.run, "READ_IS_FRESH", RaftQuorum, "read_barrier", asks_nobody),
    Planted(quorum.run, "EVERYBODY_IS_ANSWERED", Waiting, "fail", answers_nobody),
    Planted(quorum.run, "A_MEMBER_GOES_ON", RaftQuorum, "published", stops_behind_a_change),
    Planted(of_replication, "ROOM_IS_KEPT", Sender, "done", gives_room_for_what_it_sends),
    Planted(of_replication, "PROGRESS_AFTER_HEALING", PartitionLeader, "_may_join", nobody_joins),
    Planted(groups.run, "OWNER_COMMITS", offsets, "_holds", anybody_commits, 75),
    Planted(groups.run, "OUTSIDER_WAITS", offsets, "check_empty", never_full),
    Planted(groups.run, "OFFSETS_MOVE_BY_REQUEST", offsets, "_committed", commits_one_less),
    Planted(
        groups.run, "NOTHING_ANSWERED_IS_LOST", HostedPartition, "__init__",
        starts_without_its_last_change, 14,
    ),
    Planted(groups.run, "BEGINS_WHERE_ITS_GROUP_STANDS", Starts, "_places", begins_at_the_start),
    Planted(groups.run, "EVERYTHING_DELIVERED", Client, "_finish", works_on_all_but_the_last),
    Planted(groups.run, "DELIVERED_WITHOUT_A_GAP", read_on, "Step", passes_over_a_record),
)  # fmt: skip

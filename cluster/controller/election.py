"""Who leads a partition next, and who is counted in sync then: pure functions of one row.

`settled` is the whole rule. Whatever happens to a node or a row, the row is settled afterwards, so
in the metadata every row is: its leader is up, its ISR has nobody who is down, and where there is
no leader nobody could lead.

1. A clean member of the ISR that is up leads, else one of the ELR; preferred leader first.
2. Else, while a clean candidate is down, the partition waits for it: it may hold what nobody has.
3. Else all candidates are unclean: once every one of them has said how far its recovered log goes,
   the most complete one leads (RECOVERY_ELECTION_WAITS_FOR_ALL). An only candidate leads at once.

Who leaves the ISR while fewer than k = min.insync.replicas stay becomes a member of the ELR, clean
or marked (KIP-966). So k candidates stay, and with k > RF / 2 every record that k had flushed is on
one of them. A marked one leaves the ELR when a leader answers for it: `cluster.controller.isr`.

Invariants:
    ELECTION_OF_A_CANDIDATE            who is elected is a replica, up, and a candidate.
    RECOVERY_ELECTION_WAITS_FOR_ALL    an unclean log leads only once no candidate's end is unknown.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from cluster.controller.image import BrokerImage, PartitionImage, Standing, Unclean
from model.ids import LeaderEpoch, NodeId


class Roster(NamedTuple):
    """Which nodes are on duty."""

    up: frozenset[NodeId]
    """May stay in an ISR."""
    stopping: frozenset[NodeId]
    """Up, and lead only what nobody else can."""
    fit: frozenset[NodeId]
    """Up, and may be elected."""


def roster_of(brokers: Mapping[NodeId, BrokerImage]) -> Roster:
    """Return who is on duty among the registered."""
    rows = brokers.values()
    return Roster(
        up=frozenset(one.node for one in rows if one.standing.is_up),
        stopping=frozenset(one.node for one in rows if one.standing is Standing.STOPPING),
        fit=frozenset(one.node for one in rows if one.standing.may_lead),
    )


def settled(row: PartitionImage, roster: Roster, k: int) -> PartitionImage:
    """Return the row as it is to be with these nodes on duty; itself if nothing is to change."""
    leader = row.leader
    if leader in roster.fit:
        return _without_the_down(row, roster, k)
    heir = clean_heir(row, roster)
    if heir is not None:
        return led_by(row, heir, roster, k=k)
    if leader in roster.stopping:
        return _without_the_down(row, roster, k)
    heir = recovered_heir(row, roster)
    if heir is not None:
        return led_by(row, heir, roster, k=k)
    return row if leader is None else row._replace(leader=None)


def clean_heir(row: PartitionImage, roster: Roster) -> NodeId | None:
    """Return who leads next without anybody having to recover; None: nobody."""
    marked = row.marked
    for members in (row.isr, row.elr):
        for node in row.replicas:
            if node in members and node in roster.fit and node not in marked:
                return node
    return None


def recovered_heir(row: PartitionImage, roster: Roster) -> NodeId | None:
    """Return the most complete of the recovered logs, once all are known; None: wait."""
    candidates = row.candidates
    ends = {mark.node: mark.recovered for mark in row.unclean}
    if any(node not in ends for node in candidates):
        return None  # a clean one is down; it loses nothing, and leads when it is back
    if len(candidates) == 1:
        return candidates[0] if candidates[0] in roster.fit else None
    known = {node: end for node, end in ends.items() if end is not None}
    if not known or len(known) < len(ends):
        return None
    assert set(known) == set(candidates), "RECOVERY_ELECTION_WAITS_FOR_ALL"
    greatest = max(known.values())
    for node in candidates:
        if known[node] == greatest and node in roster.fit:
            return node
    return None


def led_by(row: PartitionImage, heir: NodeId, roster: Roster, *, k: int) -> PartitionImage:
    """Return the row with a new leader in a new epoch.

    Ends that were said are forgotten: under the new leader logs move. The epoch is lossy if an
    unclean log leads while the copy of a candidate is gone: that one may have held more.
    """
    assert heir in row.candidates and heir in roster.up, "ELECTION_OF_A_CANDIDATE"
    epoch = LeaderEpoch(row.leader_epoch + 1)
    isr = _chosen(row, (node for node in row.isr if node in roster.up), (heir,))
    elr = _elr(row, isr, k)
    lossy = bool(row.lost) and heir in row.marked
    return row._replace(
        leader=heir,
        leader_epoch=epoch,
        isr=isr,
        elr=elr,
        unclean=tuple(Unclean(mark.node) for mark in row.unclean if mark.node in elr),
        lossy_epoch=epoch if lossy else row.lossy_epoch,
    )


def forced(row: PartitionImage, replica: NodeId) -> PartitionImage:
    """Return the row led by any replica, by command: the one election that loses knowingly (P14).

    Its log is the partition from here on; whatever else the others hold is cut.
    """
    epoch = LeaderEpoch(row.leader_epoch + 1)
    return row._replace(
        leader=replica,
        leader_epoch=epoch,
        isr=(replica,),
        elr=(),
        unclean=(),
        lost=(),
        lossy_epoch=epoch,
    )


def restarted_unclean(row: PartitionImage, node: NodeId) -> PartitionImage:
    """Return the row with a candidate marked: it restarted, and may lack what it had not flushed.

    It stays a candidate: who restarts may be the first of all that lost power together.
    """
    if node not in row.isr and node not in row.elr:
        return row
    marks = (*(mark for mark in row.unclean if mark.node != node), Unclean(node))
    return row._replace(
        leader=None if row.leader == node else row.leader,
        isr=tuple(one for one in row.isr if one != node),
        elr=_chosen(row, row.elr, (node,)),
        unclean=_in_order(row, marks),
    )


def restarted_clean(row: PartitionImage, node: NodeId) -> PartitionImage:
    """Return the row with what a former process of the node said or did taken back.

    A leader that restarts has forgotten its high watermark: a new epoch tells when it may answer
    again. An only replica is asked by nobody meanwhile and goes on.
    """
    ends = row.leader == node and len(row.replicas) > 1
    if not ends and not row.unclean:
        return row
    marks = tuple(Unclean(mark.node) if mark.node == node else mark for mark in row.unclean)
    return row._replace(leader=None if ends else row.leader, unclean=marks)


def wiped(row: PartitionImage, node: NodeId, k: int) -> PartitionImage:
    """Return the row without a candidate whose copy is gone."""
    if node not in row.isr and node not in row.elr:
        return row
    isr = tuple(one for one in row.isr if one != node)
    elr = tuple(one for one in row.elr if one != node)
    enough = len(isr) + len(elr) >= k
    return row._replace(
        leader=None if row.leader == node else row.leader,
        isr=isr,
        elr=elr,
        unclean=tuple(mark for mark in row.unclean if mark.node != node),
        lost=row.lost if enough else _chosen(row, row.lost, (node,)),
    )


def altered(row: PartitionImage, isr: Iterable[NodeId], k: int) -> PartitionImage:
    """Return the row with the ISR that its leader asks for.

    With k members in sync nobody else is needed, and no mark: the leader, which holds everything,
    has seen the marks (its request names this version of the row).
    """
    members = _chosen(row, isr)
    if len(members) >= k:
        return row._replace(isr=members, elr=(), unclean=(), lost=())
    elr = _elr(row, members, k)
    marks = tuple(mark for mark in row.unclean if mark.node in elr)
    return row._replace(isr=members, elr=elr, unclean=marks)


def answered_for(row: PartitionImage) -> PartitionImage:
    """Return the row without marks: its leader has flushed every committed record."""
    elr = tuple(node for node in row.elr if node not in row.marked)
    return row._replace(elr=elr, unclean=(), lost=())


class Need(Enum):
    """What a partition without a leader needs of a candidate."""

    RETURN = "return"
    """To be started, or reached, again."""
    LOG_END = "log end"
    """To say how far its recovered log goes; it is about to."""
    FITNESS = "fitness"
    """To be allowed to lead: it stops, or its clock is in doubt."""


class Awaited(NamedTuple):
    """A candidate, and what is missing."""

    node: NodeId
    need: Need
    clean: bool
    """One clean candidate suffices; without any, all unclean ones are needed."""


def awaited(row: PartitionImage, roster: Roster) -> tuple[Awaited, ...]:
    """Return for whom a partition without a leader waits, for `cluster health`.

    Empty while it has a leader, and when no copy is left that could lead: then only the command
    that elects an unclean replica helps, as it does when one of these never returns.
    """
    if row.leader is not None:
        return ()
    ends = {mark.node: mark.recovered for mark in row.unclean}
    return tuple(
        Awaited(node, need, node not in ends)
        for node in row.candidates
        if (need := _need(node, roster, silent=node in ends and ends[node] is None)) is not None
    )


def _need(node: NodeId, roster: Roster, *, silent: bool) -> Need | None:
    if node not in roster.up:
        return Need.RETURN
    if silent:
        return Need.LOG_END
    return None if node in roster.fit else Need.FITNESS


def _without_the_down(row: PartitionImage, roster: Roster, k: int) -> PartitionImage:
    if roster.up.issuperset(row.isr):
        return row
    isr = tuple(node for node in row.isr if node in roster.up)
    return row._replace(isr=isr, elr=_elr(row, isr, k))


def _elr(row: PartitionImage, isr: tuple[NodeId, ...], k: int) -> tuple[NodeId, ...]:
    """Return who may still lead beside a new ISR: with k in it only marked ones, else all."""
    kept = row.marked if len(isr) >= k else {*row.isr, *row.elr}
    return tuple(node for node in row.replicas if node in kept and node not in isr)


def _chosen(row: PartitionImage, *groups: Iterable[NodeId]) -> tuple[NodeId, ...]:
    members = {node for group in groups for node in group}
    return tuple(node for node in row.replicas if node in members)


def _in_order(row: PartitionImage, marks: Iterable[Unclean]) -> tuple[Unclean, ...]:
    return tuple(sorted(marks, key=lambda mark: row.replicas.index(mark.node)))

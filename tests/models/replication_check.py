"""What must hold in every state of the replication model, by the names of docs/GUARANTEES.md.

    LEADER_HOLDS_COMMITTED        who leads has every record that was ever acknowledged (P1).
    POWER_CUT_LOSES_NOTHING       some candidate has all of them on its disk, whatever fails next.
    ELECTABLE_HOLDS_COMMITTED     a clean candidate that is up has written all of them.
    ACKED_IS_FLUSHED              a record is acknowledged when min.insync.replicas disks have it.
    COMMITTED_IS_FOREVER          no leader commits another record at a committed offset (P9).
    SHOWN_MARK_NEVER_FALLS        what the newest leader shows never goes back (P12).
    LOGS_MATCH                    logs that share a record's epoch at an offset are equal up to it.
    EPOCHS_RISE                   leader epochs do not fall along a log.
    ONE_LEADER_IN_AN_EPOCH        (P19)
    CONTROLLER_WITHIN_MAXIMAL     whom the controller counts in sync, the leader asks (P13).
    FOLLOWER_KEEPS_WHAT_IS_COMMITTED    nobody is asked to cut below its high watermark (P16).
and the assertions of the cores themselves.
"""

from functools import lru_cache
from itertools import combinations, pairwise

from cluster.controller.image import PartitionImage
from model.ids import NodeId
from tests.models.explore import BrokenError
from tests.models.replication_state import DOWN, ELECTED, LEADING, Log, Node, durable
from tests.models.replication_steps import Draft


def check(draft: Draft) -> None:
    """Raise the first that does not hold.

    Raises:
        BrokenError: with its name.
    """
    row, committed, nodes = draft.row, draft.committed, draft.nodes
    _check_leaders(draft)
    if committed:
        count = len(committed)
        kept = (durable(nodes[node - 1])[:count] == committed for node in row.candidates)
        if not any(kept):
            raise BrokenError("POWER_CUT_LOSES_NOTHING")
        for me in row.candidates:
            node = nodes[me - 1]
            if _is_clean(draft, me) and node.log[: min(count, node.written)] != committed:
                raise BrokenError("ELECTABLE_HOLDS_COMMITTED")
    _check_logs(nodes[0].log, nodes[1].log, nodes[2].log)


@lru_cache(maxsize=100_000)
def _check_logs(*logs: Log) -> None:
    """Few of the states differ in their logs: those that hold are remembered."""
    for one, other in combinations(logs, 2):
        if not _match(one, other):
            raise BrokenError("LOGS_MATCH")
    for log in logs:
        if any(after < before for (before, _), (after, _) in pairwise(log)):
            raise BrokenError("EPOCHS_RISE")


def _check_leaders(draft: Draft) -> None:
    epochs = [node.epoch for node in draft.nodes if node.lead is not None]
    if len(epochs) != len(set(epochs)):
        raise BrokenError("ONE_LEADER_IN_AN_EPOCH")
    row = draft.row
    if row.leader is None:
        return
    node = draft.nodes[row.leader - 1]
    if node.phase not in {ELECTED, LEADING} or node.epoch != row.leader_epoch:
        return
    if node.log[: len(draft.committed)] != draft.committed:
        raise BrokenError("LEADER_HOLDS_COMMITTED")
    if node.lead is not None and not _asks_all(node, row, draft.rule.min_insync_replicas):
        raise BrokenError("CONTROLLER_WITHIN_MAXIMAL")


def _asks_all(node: Node, row: PartitionImage, k: int) -> bool:
    lead = node.lead
    assert lead is not None
    return len(row.isr) < k or {*row.isr} <= {*lead.committed, *lead.pending}


def _is_clean(draft: Draft, me: NodeId) -> bool:
    """Tell whether a node is up, has not restarted since it became a candidate, and could lead."""
    node = draft.nodes[me - 1]
    registered = draft.registered[me - 1] == node.registration
    return node.phase != DOWN and registered and me not in draft.row.marked


def _match(one: Log, other: Log) -> bool:
    for offset in range(min(len(one), len(other)) - 1, -1, -1):
        if one[offset][0] == other[offset][0]:
            return one[: offset + 1] == other[: offset + 1]
    return True

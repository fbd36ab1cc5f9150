"""What tests of replication say often: small logs, rules, assignments."""

from collections.abc import Iterable

from cluster.peer.replica import NO_EPOCH, Open, Progress
from cluster.replication.events import Assignment
from cluster.replication.high_watermark import CommitRule, Ends
from cluster.replication.leader import PartitionLeader
from cluster.replication.log_state import LogState
from logstore.leader_epochs import EpochStart, LeaderEpochs
from logstore.settings import Flush
from model.ids import LeaderEpoch, MonotonicMs, NodeId, Offset, RegistrationEpoch

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
RULE = CommitRule(flush=Flush.QUORUM, min_insync_replicas=2, replica_lag_ms_max=2_500)
START = MonotonicMs(0)


def ends(log: int, written: int | None = None, flushed: int | None = None) -> Ends:
    """Return ends; what is not said is as far as what comes before it."""
    written = log if written is None else written
    return Ends(Offset(log), Offset(written), Offset(written if flushed is None else flushed))


def epochs(**starts: int) -> LeaderEpochs:
    """Return a table: `epochs(e1=0, e4=10)`."""
    rows = [(int(name[1:]), start) for name, start in starts.items()]
    return LeaderEpochs([EpochStart(LeaderEpoch(epoch), Offset(at)) for epoch, at in rows])


def log(
    end: Ends, table: LeaderEpochs | None = None, *, log_start: int = 0, mark: int = 0
) -> LogState:
    """Return a log of a topic with flush=quorum; without a table all of it is of epoch 0."""
    own = table or (epochs(e0=log_start) if end.log > log_start else epochs())
    return LogState(end, own, Offset(log_start), Offset(mark), end.flushed)


def assignment(
    *,
    leader: int | None = 1,
    leader_epoch: int = 0,
    lossy_epoch: int = NO_EPOCH,
    replicas: Iterable[int] = (1, 2, 3),
    isr: Iterable[int] = (1, 2, 3),
    partition_epoch: int = 0,
) -> Assignment:
    """Return what the metadata say; partition 1, 2, 3 led by 1 in epoch 0, all in sync."""
    return Assignment(
        None if leader is None else NodeId(leader),
        LeaderEpoch(leader_epoch),
        LeaderEpoch(lossy_epoch),
        tuple(NodeId(node) for node in replicas),
        frozenset(NodeId(node) for node in isr),
        partition_epoch,
    )


def leading(
    state: LogState, said: Assignment, *, rule: CommitRule = RULE, now: MonotonicMs = START
) -> PartitionLeader:
    """Return node 1 as the leader."""
    return PartitionLeader(ONE, assignment=said, log=state, rule=rule, now=now)


def open_(
    follower: NodeId, log_end: int, *, epoch: int = 0, registration: int = 0, last_epoch: int = 0
) -> Open:
    """Return what a follower opens with; an empty log has no last epoch."""
    return Open(
        follower,
        RegistrationEpoch(registration),
        LeaderEpoch(epoch),
        LeaderEpoch(last_epoch) if log_end else NO_EPOCH,
        Offset(log_end),
    )


def progress(follower: NodeId, *told: int, epoch: int = 0, registration: int = 0) -> Progress:
    """Return what a follower reports: log, written, flushed end; one that is not said is as the
    one before."""
    return Progress(follower, RegistrationEpoch(registration), LeaderEpoch(epoch), *ends(*told))

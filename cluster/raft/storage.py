"""A member's files: from work to disk, and at the start from disk to what a member begins with.

Format: docs/formats/metadata_log.md. Every call blocks; one at a time, in the thread that may wait.
An OSError is the end of the process: nobody knows what is durable then.
"""

from cluster.raft.entry_log import DIRECTORY
from cluster.raft.log import SnapshotFile
from cluster.raft.member import SOMEBODY
from cluster.raft.quorum_state import QuorumState, save
from cluster.raft.ready import DiskWork, HardState
from cluster.raft.snapshot import Snapshot, encode, save_file
from cluster.raft.stable import Stable
from cluster.raft.start import Start
from cluster.raft.voters import Voter
from model.ids import Index


class RaftStorage:
    """Carries one member's work to its disk, in order."""

    def __init__(self, stable: Stable, *, me: Voter) -> None:
        """Go on where the files were opened."""
        self._disk = stable.disk
        self._log = stable.log
        self._me = me

    def perform(self, work: DiskWork) -> None:
        """Do one piece of work; all of it is durable when this returns.

        The term comes first: a log with entries of a term that its vote file has not heard of is
        refused at the next start. A snapshot comes before the log that it replaces goes.

        Raises:
            OSError: the process must end, without a word to anybody.
        """
        if work.hard_state is not None:
            save(self._disk, DIRECTORY, _to_file(work.hard_state, self._me))
        if work.snapshot is not None:
            self.keep(work.snapshot)
            self._log.begin_anew((work.snapshot.last_index, work.snapshot.last_term))
        if work.cut is not None:
            self._log.cut(work.cut)
        if work.entries:
            self._log.append(work.entries)

    def keep(self, snapshot: SnapshotFile) -> None:
        """Make a snapshot durable, the leader's or one's own.

        Raises:
            OSError: the process must end.
        """
        save_file(self._disk, DIRECTORY, snapshot.content, last_index=snapshot.last_index)

    def discard(self, through: Index) -> None:
        """Remove log files that hold nothing above a durable snapshot.

        Raises:
            OSError: the process must end.
        """
        self._log.discard(min(through, self._log.last_index))

    def close(self) -> None:
        """Let go of the files."""
        self._log.close()


def start_from(stable: Stable, *, me: Voter) -> Start:
    """Return what a member begins with.

    Raises:
        MalformedError: an entry was damaged since the log was opened.
    """
    snapshot, log = stable.snapshot, stable.log
    first = max(log.first_index, snapshot.last_index + 1) if snapshot else log.first_index
    return Start(
        me=me,
        term=stable.state.term,
        voted_for=_from_file(stable.state),
        voters=stable.state.voters,
        snapshot=None if snapshot is None else file_of(snapshot),
        entries=tuple(log.read(Index(first), Index(log.last_index + 1))),
    )


def file_of(snapshot: Snapshot) -> SnapshotFile:
    """Return a snapshot as its file is."""
    return SnapshotFile.of(snapshot, encode(snapshot))


def _to_file(state: HardState, me: Voter) -> QuorumState:
    return QuorumState(
        term=state.term,
        voted_for=None if state.voted_for is None else state.voted_for.node,
        directory=me.directory,
        voters=state.voters,
    )


def _from_file(state: QuorumState) -> Voter | None:
    """Return whom the vote was for: its directory is that of the voter of that id then.

    A candidate that was no voter as far as this member knew has got a vote all the same; nobody
    else gets another one in that term.
    """
    if state.voted_for is None:
        return None
    known = [voter for voter in state.voters if voter.node == state.voted_for]
    return known[0] if known else SOMEBODY

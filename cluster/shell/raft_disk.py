"""One member's work for its disk: in order, one job at a time, off the loop.

What gathers while a job runs is one job, and one sync, as far as it is entries alone. Messages that
wait for the disk stand with the last work that was handed over before them.

Invariants:
    QUORUM_WORK_IS_AWAITED   a message waits for work, or for nothing.
"""

from asyncio import Future, ensure_future
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from cluster.controller.image import MetadataImage
from cluster.raft.log import SnapshotFile
from cluster.raft.messages import Message
from cluster.raft.ready import DiskWork
from cluster.raft.snapshot import Snapshot
from cluster.raft.storage import RaftStorage, file_of
from cluster.shell.raft_doors import RunBlocking
from cluster.shell.raft_metadata import snapshot_payload


@dataclass(slots=True)
class Job:
    """What the disk does at once, and what follows from it."""

    work: DiskWork | None = None
    """None: a snapshot of one's own."""
    messages: list[Message] = field(default_factory=list)
    """May leave when it is done."""
    head: Snapshot | None = None
    """A snapshot without its payload, which the thread makes."""
    image: MetadataImage | None = None
    """What the payload says."""
    kept: SnapshotFile | None = None
    """The snapshot, once it is durable."""


class RaftDisk:
    """The jobs of one member. Loop only, but for what `run_blocking` runs."""

    def __init__(
        self, storage: RaftStorage, run_blocking: RunBlocking, *, ended: Callable[[], None]
    ) -> None:
        """Begin idle. `ended` is called on the loop whenever a job is over."""
        self._storage = storage
        self._run_blocking = run_blocking
        self._ended = ended
        self._jobs: deque[Job] = deque()
        self._under_way: Job | None = None
        self._done: Future[SnapshotFile | None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether everything that was handed over is durable."""
        return self._under_way is None and not self._jobs

    @property
    def has_work(self) -> bool:
        """Whether a message that waits for the disk has to wait; snapshots hold up none."""
        return self._last_work is not None

    @property
    def _last_work(self) -> Job | None:
        for job in reversed(self._jobs):
            if job.work is not None:
                return job
        under_way = self._under_way
        return under_way if under_way is not None and under_way.work is not None else None

    def put(self, work: DiskWork, messages: tuple[Message, ...]) -> None:
        """Hand work over; the messages wait for it."""
        last = self._jobs[-1] if self._jobs else None
        if last is not None and last.work is not None and _is_entries_alone(work):
            last.work = last.work._replace(
                entries=last.work.entries + work.entries, durable=work.durable
            )
            last.messages += messages
        else:
            self._jobs.append(Job(work, [*messages]))

    def wait(self, messages: tuple[Message, ...]) -> None:
        """Let messages wait for all work that was handed over so far; there is some."""
        last = self._last_work
        assert last is not None, "QUORUM_WORK_IS_AWAITED"
        last.messages += messages

    def put_snapshot(self, head: Snapshot, image: MetadataImage) -> None:
        """Have an image written down, and the log files removed that it stands for."""
        self._jobs.append(Job(head=head, image=image))

    def begin(self) -> None:
        """Give the thread its next job, unless it has one."""
        if self._under_way is not None or not self._jobs:
            return
        job = self._under_way = self._jobs.popleft()
        self._done = ensure_future(self._run_blocking(partial(_perform, self._storage, job)))
        self._done.add_done_callback(lambda _: self._ended())

    def finished(self) -> Job | None:
        """Return the job that is over, once; None: it still runs, or there is none.

        Raises:
            OSError: the disk refused; nobody knows what is durable.
        """
        if self._done is None or not self._done.done():
            return None
        job, done = self._under_way, self._done
        self._under_way = self._done = None
        kept = done.result()
        if job is not None:
            job.kept = kept
        return job

    def close(self) -> None:
        """Take nothing more, and let go of the files once the thread does not use them."""
        self._jobs.clear()
        if self._done is None or self._done.done():
            self._storage.close()
        else:
            self._done.add_done_callback(self._let_go)

    def _let_go(self, done: Future[SnapshotFile | None]) -> None:
        if not done.cancelled():
            done.exception()  # whoever has given the job is gone: nobody else would look at it
        self._storage.close()


def _is_entries_alone(work: DiskWork) -> bool:
    """Tell whether work may be done together with the job before it, as one write."""
    return work.hard_state is None and work.snapshot is None and work.cut is None


def _perform(storage: RaftStorage, job: Job) -> SnapshotFile | None:
    """Do a job; return the snapshot if that is what it was. In the thread."""
    if job.work is not None:
        storage.perform(job.work)
    if job.head is None or job.image is None:
        return None
    file = file_of(replace(job.head, payload=snapshot_payload(job.image)))
    storage.keep(file)
    storage.discard(file.last_index)
    return file

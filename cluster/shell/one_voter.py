"""The quorum port over a log of one voter: a node that is its own controller.

Decisions are made on the loop, one after the other, each on what the ones before have decided. A
thread writes and syncs what has gathered, and while it does the next round gathers. Nobody hears
of a decision, a refusal or a read before everything that it rests on is durable.

The log, the vote and the snapshots are Raft's own (docs/formats/metadata_log.md): a quorum of
several nodes opens what one voter wrote.

Invariants:
    QUORUM_RUNS_ONCE             one task carries rounds to the disk.
    QUORUM_DURABLE_NEVER_FALLS   rounds become durable in the order of their entries.
"""

from asyncio import Event, Future, get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from cluster.controller.codec import decode, encode
from cluster.controller.image import MetadataImage
from cluster.controller.machine import ControllerMachine
from cluster.controller.port import Listener
from cluster.controller.records import MetadataRecord
from cluster.controller.request import Circumstances, Request
from cluster.controller.snapshot import snapshot
from cluster.raft.entry import Entry, EntryKind
from cluster.raft.entry_log import DIRECTORY, Dropped
from cluster.raft.snapshot import Snapshot, save
from cluster.raft.stable import Stable, begin_term_alone, open_stable
from cluster.raft.voters import Voter, encode_voters
from cluster.settings import ClusterSettings
from model.errors import (
    DirectoryExit,
    DirectoryRefused,
    ErrorCode,
    MalformedError,
    RequestError,
    StorageFailed,
)
from model.ids import Index, NodeId, Term
from model.ports import Clock, Disk, Rand

AnswerT = TypeVar("AnswerT")
ResultT = TypeVar("ResultT")

READ_ENTRIES = 1_000
"""Entries in memory at once while the log is replayed."""


class RunBlocking(Protocol):
    """Runs a job that waits for the disk, off the loop; the tests' own runs it at once."""

    def __call__(self, job: Callable[[], ResultT], /) -> Awaitable[ResultT]:
        """Return the job's result, or raise what it raised."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the quorum needs of the world."""

    disk: Disk
    clock: Clock
    rand: Rand
    run_blocking: RunBlocking


class OneVoter:
    """The metadata of a node that decides alone: a `QuorumPort`. Loop only."""

    def __init__(
        self,
        doors: Doors,
        settings: ClusterSettings,
        *,
        stable: Stable,
        term: Term,
        machine: ControllerMachine,
    ) -> None:
        """Use `OneVoter.open`."""
        self._doors = doors
        self._settings = settings
        self._stable = stable
        self._term = term
        self._machine = machine
        self._last = self._durable = stable.log.last_index
        self._snapshot_index = Index(stable.snapshot.last_index if stable.snapshot else 0)
        self._image, _ = machine.freeze(self._last)
        self._listeners: list[Listener] = []
        self._gathered: list[Entry] = []
        self._waiting: deque[tuple[Index, Future[None]]] = deque()
        self._wake = Event()
        self._running = False
        self._ended = Event()
        self._refusal: RequestError | None = None

    @classmethod
    async def open(
        cls, doors: Doors, settings: ClusterSettings, *, me: Voter, defaults: Mapping[str, str]
    ) -> "OneVoter":
        """Read snapshot and log, begin a new term; durable when this returns.

        `defaults`: this node's own for its topics, by topic setting's name.

        Raises:
            DirectoryRefused: with the exit code that the node ends with.
            StorageFailed: the disk refused.
        """

        def start() -> tuple[Stable, Term, ControllerMachine]:
            stable = open_stable(
                doors.disk, doors.rand, me=me, file_bytes_max=settings.quorum_file_bytes
            )
            machine = _replayed(stable, ControllerMachine(defaults))
            return stable, begin_term_alone(stable), machine

        try:
            stable, term, machine = await doors.run_blocking(start)
        except OSError as error:
            raise _storage_failed(error) from error
        return cls(doors, settings, stable=stable, term=term, machine=machine)

    @property
    def image(self) -> MetadataImage:
        """The newest committed metadata."""
        return self._image

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """What opening the log has cut off, for the report of the start."""
        return self._stable.dropped

    @property
    def term(self) -> Term:
        """The term that began with this start."""
        return self._term

    def subscribe(self, listener: Listener) -> None:
        """Call for each committed round from here on, in order."""
        self._listeners.append(listener)

    async def propose(self, request: Request[AnswerT]) -> AnswerT:
        """Have a change decided; answered when it is durable and every listener has run.

        Raises:
            RequestError: refused by the machine; OVERLOADED, SHUTTING_DOWN: *not done*.
                STORAGE_ERROR, LEADERSHIP_LOST (the node stops): *unknown*.
        """
        self._check_room()
        circumstances = Circumstances(now=self._doors.clock.wall_ms(), rand=self._doors.rand)
        try:
            result = self._machine.handle(request, circumstances)
        except RequestError:
            await self._settled()  # it may rest on what is not durable yet
            raise
        if result.records:
            self._gather(result.records)
        await self._settled()
        return result.response

    async def read_barrier(self) -> None:
        """Return once `image` holds every change that anybody was told of before this call."""
        self._check_room()
        await self._settled()

    async def change_voters(self, add: tuple[NodeId, ...], remove: tuple[NodeId, ...]) -> None:
        """Refuse: this quorum has one voter.

        Raises:
            RequestError: NOT_IMPLEMENTED.
        """
        raise _later(f"voters cannot change (add {list(add)}, remove {list(remove)})")

    async def transfer_leadership(self, to: NodeId) -> None:
        """Refuse: there is nobody else.

        Raises:
            RequestError: NOT_IMPLEMENTED.
        """
        raise _later(f"leadership cannot move to node {to}")

    async def run(self) -> None:
        """Carry what gathers to the disk until `stop`; the node's own task.

        Raises:
            StorageFailed: the disk refused; the node ends with exit 11.
        """
        assert not self._running, "QUORUM_RUNS_ONCE"
        self._running = True
        try:
            while self._refusal is None or self._gathered:
                await self._wake.wait()
                self._wake.clear()
                while self._gathered:
                    await self._commit()
        except OSError as error:
            failed = _storage_failed(error)
            self._end(RequestError(ErrorCode.STORAGE_ERROR, str(failed)))
            raise failed from error
        finally:
            lost = "the node stopped before the change was durable"
            self._end(RequestError(ErrorCode.LEADERSHIP_LOST, lost))
            self._stable.log.close()
            self._ended.set()

    async def ended(self) -> None:
        """Return once `run` has come to its end: no thread uses the log's files any more."""
        await self._ended.wait()

    def stop(self) -> None:
        """Take no more; `run` returns once what was taken is durable and answered."""
        if self._refusal is None:
            self._refusal = RequestError(ErrorCode.SHUTTING_DOWN, "the node is stopping")
        self._wake.set()

    def _check_room(self) -> None:
        if self._refusal is not None:
            raise RequestError(self._refusal.code, self._refusal.detail)
        if len(self._waiting) >= self._settings.quorum_proposals_max:
            detail = f"{len(self._waiting)} changes of metadata wait already"
            raise RequestError(ErrorCode.OVERLOADED, detail)

    def _gather(self, records: tuple[MetadataRecord, ...]) -> None:
        """Replay what was decided, so that the next decision sees it; write it with the next round.

        One entry, hence one checksum: after a crash all of it is there or nothing.
        """
        payload = encode(records)
        applied = False
        try:
            for record in records:
                self._machine.replay(record)
            applied = True
        finally:
            if not applied:  # a bug: the state is not what any log says, and is shown to nobody
                self._gathered.clear()
                self._end(RequestError(ErrorCode.INTERNAL, "the metadata machine broke"))
                self._wake.set()
        self._last = Index(self._last + 1)
        self._gathered.append(Entry(self._term, self._last, EntryKind.RECORDS, payload))
        self._wake.set()

    async def _settled(self) -> None:
        """Return once everything decided so far is durable and published."""
        if self._durable < self._last:
            settled: Future[None] = get_running_loop().create_future()
            self._waiting.append((self._last, settled))
            await settled

    async def _commit(self) -> None:
        """Make one round durable, show it to the listeners, then answer."""
        entries, self._gathered = self._gathered, []
        image, delta = self._machine.freeze(entries[-1].index)
        await self._doors.run_blocking(partial(self._stable.log.append, entries))
        assert image.applied > self._durable, "QUORUM_DURABLE_NEVER_FALLS"
        self._durable = image.applied
        self._image = image
        for listener in self._listeners:
            listener(image, delta)
        while self._waiting and self._waiting[0][0] <= self._durable:
            _, settled = self._waiting.popleft()
            if not settled.done():  # its asker may have gone
                settled.set_result(None)
        if image.applied - self._snapshot_index >= self._settings.quorum_snapshot_entries:
            await self._doors.run_blocking(partial(_snapshot, self._stable, image, self._term))
            self._snapshot_index = image.applied

    def _end(self, refusal: RequestError) -> None:
        """Refuse everything from here on, and whoever still waits."""
        if self._refusal is None or self._refusal.code is ErrorCode.SHUTTING_DOWN:
            self._refusal = refusal
        while self._waiting:
            _, settled = self._waiting.popleft()
            if not settled.done():
                settled.set_exception(RequestError(refusal.code, refusal.detail))


def _replayed(stable: Stable, machine: ControllerMachine) -> ControllerMachine:
    """Bring an empty machine to where snapshot and log end."""
    start = Index(1)
    if stable.snapshot is not None:
        _replay(machine, stable.snapshot.payload, f"the snapshot of {stable.snapshot.last_index}")
        start = Index(stable.snapshot.last_index + 1)
    end = Index(stable.log.last_index + 1)
    for at in range(start, end, READ_ENTRIES):
        for entry in stable.log.read(Index(at), min(end, Index(at + READ_ENTRIES))):
            if entry.kind == EntryKind.RECORDS:
                _replay(machine, entry.payload, f"entry {entry.index}")
            elif entry.kind == EntryKind.VOTERS:
                _check_voters(stable, entry)
    return machine


def _replay(machine: ControllerMachine, payload: bytes, what: str) -> None:
    try:
        for record in decode(payload):
            machine.replay(record)
    except MalformedError as damage:
        detail = f"{what} of the metadata log cannot be read: {damage}"
        raise DirectoryRefused(DirectoryExit.FAILED, detail) from damage


def _check_voters(stable: Stable, entry: Entry) -> None:
    """Refuse a log whose quorum is another than the one that this node voted in."""
    if entry.payload != encode_voters(stable.state.voters):
        detail = f"entry {entry.index} of the metadata log names another quorum than the vote"
        raise DirectoryRefused(DirectoryExit.FENCED, detail)


def _snapshot(stable: Stable, image: MetadataImage, term: Term) -> None:
    """Write an image down, then drop the log that it stands for. In the thread."""
    taken = Snapshot(
        last_index=image.applied,
        last_term=term,
        voters=stable.state.voters,
        payload=encode(snapshot(image)),
    )
    save(stable.disk, DIRECTORY, taken)
    stable.log.discard(image.applied)


def _storage_failed(error: OSError) -> StorageFailed:
    return StorageFailed(str(error.filename or DIRECTORY), error.errno or 0, "write metadata")


def _later(what: str) -> RequestError:
    detail = f"{what}: the quorum is this node alone"
    return RequestError(ErrorCode.NOT_IMPLEMENTED, detail)

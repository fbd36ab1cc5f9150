"""The quorum port over Raft: what can be asked of one member of the quorum, and who waits.

Decisions are made on the leader's loop, one after the other, each on what the ones before have
decided. A thread writes and syncs what has gathered, and while it does the next round gathers.
Nobody hears of a decision, a refusal or a read before everything that it rests on is committed.

One task does everything (`run`), so what the core finds wrong ends this task, and with it the node.
A quorum of one voter is the same with nobody to wait for: it leads from the start.

What its user wires: `Doors.send` to the links, `step` and `peer_gone` from them
(`cluster.shell.raft_wire`), `judge_by` to whoever holds the sessions.

Invariants:
    QUORUM_RUNS_ONCE          one task carries everything.
    QUORUM_STATE_IS_THE_LOGS  a machine that broke over a decision ends the node.
"""

from asyncio import Event, Future, get_running_loop
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import count
from typing import Final, TypeAlias, TypeVar

from cluster.controller.codec import encode
from cluster.controller.image import MetadataImage
from cluster.controller.port import Listener
from cluster.controller.quorum_status import QuorumStatus
from cluster.controller.records import MetadataRecord
from cluster.controller.request import Circumstances, Request
from cluster.raft.entry_log import Dropped
from cluster.raft.membership import Change, RefusedError
from cluster.raft.messages import Message
from cluster.raft.ready import Ready
from cluster.raft.voters import Configuration, Voter
from cluster.settings import ClusterSettings
from cluster.shell.raft_change import QuorumChange
from cluster.shell.raft_doors import Doors, storage_failed
from cluster.shell.raft_member import QuorumLeader, RaftMember
from cluster.shell.raft_metadata import Published
from cluster.shell.raft_opening import OpenedMember, open_as_member
from cluster.shell.raft_refusals import (
    PAYLOAD_BYTES_MAX,
    leadership_lost,
    no_quorum,
    not_leader,
    refused,
    too_long,
)
from cluster.shell.raft_status import status_of
from cluster.shell.raft_waiting import News, Waiting, same
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, Term

AnswerT = TypeVar("AnswerT")

TRANSFER_SPARE_TICKS: Final = 2
"""The core gives up after an election timeout; so it has when so many more ticks have passed."""
NOBODY: Final[AbstractSet[NodeId]] = frozenset()

LeaderListener: TypeAlias = Callable[[QuorumLeader], None]
"""Called on the loop whenever that changes, behind the listeners of the images up to then."""


class RaftQuorum:
    """One member of the quorum: a `QuorumPort`. Loop only."""

    def __init__(self, doors: Doors, settings: ClusterSettings, opened: OpenedMember) -> None:
        """Use `RaftQuorum.open`."""
        self._doors, self._settings = doors, settings
        self._node, self._metadata = opened.node, opened.metadata
        self._dropped = opened.dropped
        self._member = RaftMember(doors, settings, opened, events=self)
        self._listeners: list[Listener] = []
        self._leader_listeners: list[LeaderListener] = []
        self._live: Callable[[], AbstractSet[NodeId]] = lambda: NOBODY
        self._waiting = Waiting()
        self._numbers = count(1)
        self._reads: dict[int, Future[None]] = {}
        self._news = News()
        self._change = QuorumChange(self._node, decide=self._decide_change, news=self._news_come)
        self._running = False
        self._ended = Event()
        self._refusal: RequestError | None = None

    @classmethod
    async def open(
        cls,
        doors: Doors,
        settings: ClusterSettings,
        *,
        me: Voter,
        voters: tuple[Voter, ...],
        defaults: Mapping[str, str],
    ) -> "RaftQuorum":
        """Read what the disk has; a member that is the only voter leads when this returns.

        `voters`: whom an empty directory believes to be the quorum: a founder names the founders,
        who joins names those it joins, without itself. Else the directory's own word counts.
        `defaults`: this node's own for its topics, by topic setting's name.

        Raises:
            DirectoryRefused: with the exit code that the node ends with.
            StorageFailed: the disk refused.
        """
        job = partial(open_as_member, doors, settings, me=me, voters=voters, defaults=defaults)
        try:
            opened = await doors.run_blocking(job)
        except OSError as error:
            raise storage_failed(error) from error
        return cls(doors, settings, opened)

    @property
    def image(self) -> MetadataImage:
        """The newest committed metadata that this member was given."""
        return self._metadata.image

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """What opening the log has cut off, for the report of the start."""
        return self._dropped

    @property
    def term(self) -> Term:
        """The newest term that is known."""
        return self._node.term

    @property
    def leads(self) -> bool:
        """Whether this member leads and has applied all that was decided before: it may decide."""
        return self._member.leads

    @property
    def leader(self) -> NodeId | None:
        """Who leads, as far as is known; oneself also before `leads`."""
        return self._member.leader_now.node

    @property
    def configuration(self) -> Configuration:
        """Voters and learners as the log's newest entry names them; it may not be committed."""
        return self._node.configuration

    @property
    def status(self) -> QuorumStatus:
        """Voters and learners, and how far each is, as far as this member knows."""
        return status_of(self._node)

    def subscribe(self, listener: Listener) -> None:
        """Call for each committed step from here on, in order."""
        self._listeners.append(listener)

    def subscribe_leadership(self, listener: LeaderListener) -> None:
        """Call whenever another member is known to lead, or this one may decide or no longer."""
        self._leader_listeners.append(listener)

    def judge_by(self, live: Callable[[], AbstractSet[NodeId]]) -> None:
        """Have decisions know whose session the leader holds; until then they know of none."""
        self._live = live

    # What is asked for.

    async def propose(self, request: Request[AnswerT]) -> AnswerT:
        """Have a change decided; answered when it is committed and every listener has run.

        Raises:
            RequestError: refused by the machine; NOT_LEADER, with `leader` in the metadata;
                NO_QUORUM, OVERLOADED, INVALID_REQUEST (too long), SHUTTING_DOWN: *not done*.
                LEADERSHIP_LOST, STORAGE_ERROR: *unknown*.
        """
        while True:
            await self._may_decide()
            try:
                answer, changes = self._decide(request)
            except RefusedError:  # the leadership is being handed over, or has just been
                await self._news_come()
                continue
            except RequestError:
                await self._settled(changes=False)  # it may rest on what is not committed yet
                raise
            await self._settled(changes=changes)
            return answer

    async def read_barrier(self) -> None:
        """Return once `image` holds every change that anybody was told of before this call.

        Raises:
            RequestError: NO_QUORUM, nobody could confirm it; OVERLOADED, SHUTTING_DOWN.
        """
        self._check_room()
        number = next(self._numbers)
        try:
            self._node.read(number)
        except RefusedError as error:
            raise refused(self._node, error.refusal) from error
        read = self._reads[number] = get_running_loop().create_future()
        self._member.wake()
        await read

    async def change_voters(self, add: tuple[NodeId, ...], remove: tuple[NodeId, ...]) -> None:
        """Give votes to registered nodes, then take votes away; see `QuorumChange.change_voters`.

        Raises:
            RequestError: what `propose` raises; UNKNOWN_BROKER, UNKNOWN_VOTER, DUPLICATE_VOTER,
                QUORUM_CHANGE_IN_PROGRESS: *not done*; REQUEST_TIMED_OUT: a part is done.
        """
        await self._may_decide()
        await self._change.change_voters(self.image, add, remove)

    async def admit(self, member: Voter, *, replaces: bool = False) -> None:
        """Send the log to a node from here on; see `QuorumChange.admit`.

        Raises:
            RequestError: what `propose` raises; DUPLICATE_VOTER, LIMIT_EXCEEDED,
                QUORUM_CHANGE_IN_PROGRESS: *not done*.
        """
        await self._may_decide()
        await self._change.admit(member, replaces=replaces)

    async def transfer_leadership(self, to: NodeId) -> None:
        """Return once another leads; `to` gets the first chance.

        Raises:
            RequestError: NOT_LEADER, NO_QUORUM, UNKNOWN_VOTER: *not done*; REQUEST_TIMED_OUT: it
                did not take over yet, and this member goes on.
        """
        await self._may_decide()
        leading = self._node.leadership
        self._change.begin_transfer(to)
        self._member.wake()
        for _ in range(self._settings.quorum_election_ticks + TRANSFER_SPARE_TICKS):
            if self._node.leadership is not leading or to == self._node.me.node:
                return
            await self._news_come()
        detail = f"node {to} did not take over; node {self._node.me.node} still leads the quorum"
        raise RequestError(ErrorCode.REQUEST_TIMED_OUT, detail)

    # What happens.

    def step(self, message: Message) -> None:
        """Take a message that came from another member."""
        if self._refusal is None or self._is_waited_for:
            self._member.take(message)

    def peer_gone(self, node: NodeId) -> None:
        """Take the word that a node's process has ended: nobody waits for its silence."""
        self._member.peer_gone(node)

    async def run(self) -> None:
        """Do what there is to do until `stop`; the node's own task.

        Raises:
            StorageFailed: the disk refused; the node ends with exit 11.
            DirectoryRefused: what was committed cannot be read here; or EntriesForgotten.
        """
        assert not self._running, "QUORUM_RUNS_ONCE"
        self._running = True
        try:
            while self._refusal is None or self._is_waited_for or not self._member.is_idle:
                await self._member.woken()
                self._member.turn()
            assert not self._member.broken, "QUORUM_STATE_IS_THE_LOGS"
        except OSError as error:
            failed = storage_failed(error)
            self._end(RequestError(ErrorCode.STORAGE_ERROR, str(failed)))
            raise failed from error
        finally:
            self._end(leadership_lost("the node stopped before the change was committed"))
            self._member.close()
            self._ended.set()

    async def ended(self) -> None:
        """Return once `run` has come to its end: no thread uses the log's files any more."""
        await self._ended.wait()

    def stop(self) -> None:
        """Take no more; `run` returns once what was taken is durable and answered.

        That takes no longer than a leader needs to find that it has no quorum.
        """
        if self._refusal is None:
            self._refusal = RequestError(ErrorCode.SHUTTING_DOWN, "the node is stopping")
            self._news.fail(self._refusal)
        self._member.wake()

    # What a turn has brought (`MemberEvents`).

    def published(self, step: Published) -> None:
        """Show a step to everybody, then answer who has waited for it."""
        for listener in self._listeners:
            listener(step.image, step.delta)
        self._waiting.reached(step.image.applied)

    def reads_end(self, ready: Ready) -> None:
        """Answer the reads that are confirmed, and refuse those that nobody confirms."""
        for number in ready.reads:
            read = self._reads.pop(number)
            if self.image.applied < self._node.delivered:  # as far as an image in between
                self._waiting.add(self._node.delivered, read, changes=False)
            elif not read.done():
                read.set_result(None)
        for number in ready.lost_reads:
            read = self._reads.pop(number)
            if not read.done():
                read.set_exception(no_quorum("no leader of the quorum has confirmed the read"))

    def stepped_down(self) -> None:
        """Tell who waits that the outcome is open; who has changed nothing may ask elsewhere."""
        lost = leadership_lost("another may lead the controller quorum, with this change or not")
        self._waiting.fail(lost, not_leader(self._node))

    def ticked(self) -> None:
        """Let those look again who wait for time to pass."""
        self._news.tell()

    def leader_changed(self, leader: QuorumLeader) -> None:
        """Tell those who listen, and those who wait to decide."""
        self._news.tell()
        for listener in self._leader_listeners:
            listener(leader)

    # Deciding.

    @property
    def _is_waited_for(self) -> bool:
        return bool(self._waiting or self._reads)

    def _check_room(self) -> None:
        if self._refusal is not None:
            raise same(self._refusal)
        waiting = len(self._waiting) + len(self._reads) + len(self._news)
        if waiting >= self._settings.quorum_proposals_max:
            raise RequestError(ErrorCode.OVERLOADED, f"{waiting} changes of metadata wait already")

    async def _may_decide(self) -> None:
        """Return once this member may decide: a new leader first applies what it has found."""
        self._check_room()
        while not self.leads:
            if self._node.leadership is None:
                raise not_leader(self._node)
            await self._news_come()

    def _decide(self, request: Request[AnswerT]) -> tuple[AnswerT, bool]:
        """Decide; return the answer, and whether it changes anything."""
        circumstances = Circumstances(
            now=self._doors.clock.wall_ms(), rand=self._doors.rand, live=self._live()
        )
        result = self._metadata.decide(request, circumstances)
        if result.records:
            self._append(result.records)
        return result.response, bool(result.records)

    def _append(self, records: tuple[MetadataRecord, ...]) -> None:
        """Put a decision into the log, and replay it, so that the next decision sees it.

        One entry, hence one checksum: after a crash all of it is there or nothing.
        """
        payload = encode(records)
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise too_long(len(payload))
        index = self._node.propose(payload)
        applied = False
        try:
            self._metadata.replay_ahead(records, index)
            applied = True
        finally:
            if not applied:  # a bug: the state is not what any log says, and is shown to nobody
                self._end(RequestError(ErrorCode.INTERNAL, "the metadata machine broke"))
                self._member.break_down()
            self._member.wake()

    async def _settled(self, *, changes: bool) -> None:
        """Return once everything decided so far is committed and published."""
        if self.image.applied < self._metadata.ahead:
            await self._waiting.until(self._metadata.ahead, changes=changes)

    async def _decide_change(self, change: Change) -> None:
        """Have a change of the quorum committed."""
        try:
            index = self._node.change(change)
        except RefusedError as error:
            raise refused(self._node, error.refusal) from error
        self._member.wake()
        await self._waiting.until(index, changes=True)

    async def _news_come(self) -> None:
        """Return at the next tick, or when another leads, or this member has become sure."""
        if self._refusal is not None:
            raise same(self._refusal)
        await self._news.come()

    def _end(self, refusal: RequestError) -> None:
        """Refuse everything from here on, and whoever still waits."""
        if self._refusal is None:
            self._refusal = refusal
        self._waiting.fail(refusal, refusal)
        self._news.fail(refusal)
        reads, self._reads = self._reads, {}
        for read in reads.values():
            if not read.done():  # who only reads is told that nothing was done
                read.set_exception(no_quorum(refusal.detail))

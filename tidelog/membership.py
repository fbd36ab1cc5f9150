"""A consumer's place in its group: it joins, comes back over another stream, and joins anew.

One task reads the stream while the program's body runs, so that a partition that nobody is working
on is handed over at once, commits are answered, and heartbeats go out. A stream that breaks is
resumed with the membership and the places reached: nothing is assigned anew and no record comes
twice. A membership that is lost takes everything held with it; then the consumer joins anew.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import grpc.aio

from tidelog.checkpoint import Key
from tidelog.commits import Commits, Rows
from tidelog.compression import CodecMissing
from tidelog.connection import Connection
from tidelog.consume_stream import ConsumeStream
from tidelog.consumer_settings import ConsumerSettings
from tidelog.errors import UNREACHABLE, ConnectError, TidelogError, error_of
from tidelog.group_calls import CONSUME
from tidelog.held import Held, Holdings
from tidelog.retry import Budget
from tidelog.steps import Trouble, ended_by
from tidelog.subscription import diverged_error, lost_error
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import group_service_pb2 as wire
from tidelog.wire_errors import Failure, failure_of_status, harmless

LOGGER: Final = logging.getLogger("tidelog.client")
LOST: Final = frozenset({"UNKNOWN_MEMBER", "STALE_MEMBER_EPOCH"})  # it is over: join anew
MOVED: Final = frozenset({"NOT_COORDINATOR", "NOT_LEADER"})  # another address is asked next
ELSEWHERE: Final = MOVED | {"REBALANCE_IN_PROGRESS"}
"""Not retryable as it was; the next stream asks anew."""
LEAVE_S: Final = 5.0
"""How long a node has to end the call of a member that leaves."""
LEAVE_UNANSWERED_S: Final = 1.0
"""The same where it has not told yet of which member."""


class Membership:
    """One consumer's membership, and all that it holds."""

    def __init__(
        self, connection: Connection, settings: ConsumerSettings, *, announce: bool
    ) -> None:
        """Take what to join; `announce`: what is assigned waits until the program was told."""
        self._connection = connection
        self._join = settings.join()
        self._announce = announce
        self.holdings = Holdings()
        self.commits = Commits()
        self.arrived: list[Held] = []
        """Assigned since the program was told last."""
        self.lost: list[Held] = []
        """Taken away since the program was told last."""
        self.changed = asyncio.Event()
        """There is something for the program to look at."""
        self.caught_up = False
        """The node has sent everything that there was."""
        self.failure: TidelogError | None = None
        """Why it is over."""
        self.is_told = False
        """The program has been told why."""
        self.on_revoke: Callable[[], None] = _nothing
        """Called when partitions have to be given back: at once, beside the program's body."""
        self._member: common.Membership | None = None
        self._stream: ConsumeStream | None = None
        self._joined = asyncio.Event()
        """The stream that is open has been joined or resumed."""
        self._budget: Budget | None = None
        self._leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Join, and wait until a node has confirmed it.

        Raises:
            TidelogError: the group cannot be joined.
        """
        self._runner = self._start(self._run())
        self._connection.consumers.add(self)
        await self.joined()

    async def joined(self) -> None:
        """Wait until the membership is confirmed on a stream that is open; raise what ended it."""
        await self._joined.wait()
        if self.failure is not None:
            raise self.told()

    async def close(self) -> None:
        """Leave the group, as far as a node can still be told, and end every task."""
        self._leaving = True
        self._connection.consumers.discard(self)
        try:
            if self._runner is not None and self._stream is not None:
                # Behind a join without an answer too: it may have made a member, unknown here.
                left_s = LEAVE_S if self._member is not None else LEAVE_UNANSWERED_S
                self._stream.put(wire.ConsumeRequest(leave=wire.ConsumeRequest.Leave()))
                await asyncio.wait({self._runner}, timeout=left_s)
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.commits.fail(self.gone("the consumer is closed"))
            self.holdings.clear()

    async def commit(self, cursors: Sequence[common.Cursor]) -> Rows:
        """Commit, on whichever stream of this membership; return a row for each cursor.

        Raises:
            Fenced: the membership was lost before an answer came.
            TidelogError: what ended the consumer.
        """
        if self.failure is not None:
            raise self.told()
        number, request, answer = self.commits.begin(cursors)
        self._say(request)  # if a stream is open; else the next one says it
        try:
            return await answer
        finally:
            self.commits.forget(number)

    @property
    def member(self) -> tuple[str, str] | None:
        """Group and member id, once a node has confirmed it and until it is lost."""
        return None if self._member is None else (self._join.group, self._member.member_id)

    @property
    def is_heard(self) -> bool:
        """Whether it has a stream over which a node hears it."""
        return self._stream is not None and self._stream.joined

    def hand_over(self, going: Iterable[Held]) -> None:
        """Answer that these were asked back: nothing more of them will be committed.

        Also for what was taken meanwhile: until it has the answer, a node takes a commit of such a
        partition for one of the tenure that is over, and refuses it.
        """
        keys: list[Key] = []
        for held in going:
            if self.holdings.by_key.get(held.at) is held:
                self.holdings.drop(held)
            elif held.asked_back_on is not self._stream:
                continue  # the stream that wanted the answer is gone
            keys.append(held.at)
        if keys:
            self._revoked(keys)

    def pause(self, held: Iterable[Held], *, paused: bool) -> None:
        """Stop or go on with delivery of partitions; they stay assigned."""
        keys = [one.at for one in held]
        for one in held:
            self.holdings.pause(one, paused=paused)
        if keys:
            self._say_paused(keys, paused=paused)
        self.changed.set()

    async def restart(self) -> None:
        """Go on over another stream, from where every partition's place says.

        Raises:
            TidelogError: what ended the consumer.
        """
        self._joined.clear()
        if self._stream is not None:
            self._stream.close()
        await self.joined()

    def fail(self, error: TidelogError) -> None:
        """End it: the program is told in its turn."""
        self.failure = self.failure or error
        self.commits.fail(error)
        self.holdings.clear()
        self._joined.set()  # whoever waits sees the failure
        self.changed.set()

    def told(self) -> TidelogError:
        """Return why it is over, for the program to be told."""
        assert self.failure is not None
        self.is_told = True
        return self.failure

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside, for as long as this is open."""
        _ = self._start(work)

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name="tidelog-consumer")  # noqa: TID251 - `close` ends it
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Let what ended a task reach the program."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, TidelogError):
            self.fail(error)
        elif error is not None:
            self.fail(error_of("INTERNAL", f"the consumer broke: {error!r}"))
            LOGGER.error("the consumer broke", exc_info=error)

    async def _run(self) -> None:
        """Keep a stream open until the end."""
        while not self._leaving:
            if self._budget is None:
                self._budget = self._connection.budget()
            if self._connection.closed:
                raise ConnectError("the client is closed under its consumer", reason=UNREACHABLE)
            node = await self._connection.ready(self._budget)
            stream = ConsumeStream(
                self._connection.pipe(node, CONSUME), node, self._connection.clock
            )
            self._stream = stream
            self.caught_up = False  # what came meanwhile, or where a seek went, is still to come
            stream.put(wire.ConsumeRequest(join=self._request()))
            try:
                failure = await self._serve(stream)
            finally:
                self._joined.clear()
                self._stream = None
                stream.close()
            if failure is not None and not self._leaving:
                await self._recover(failure, stream)

    async def _serve(self, stream: ConsumeStream) -> Failure | None:
        """Take what a stream tells until it ends; return why, None if it was ended here."""
        address = stream.node.address
        try:
            while (message := await stream.read()) is not None:
                if stream.closed:  # it was read in the turn in which a seek went elsewhere
                    break
                self._take(message, stream)
        except CodecMissing as missing:
            LOGGER.debug("asking for plain records: %s", missing)
            self._join.encoding = common.ENCODING_RECORDS
            return None
        except TimeoutError:
            return Failure(lost_error(address, "is silent"), other_node=True)
        except grpc.aio.AioRpcError as status:
            return None if stream.closed else failure_of_status(status, address)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Else the channel was closed under it.
            return None if stream.closed else Failure(lost_error(address, "was closed"))
        over = self._leaving or stream.closed
        return None if over else Failure(lost_error(address, "ended the stream"))

    async def _recover(self, failure: Failure, stream: ConsumeStream) -> None:
        """Wait before the next stream; raise what will not be otherwise."""
        error = harmless(failure.error)
        if self.holdings.damaged(error):
            self.changed.set()
            return
        if error.reason in LOST:
            self._lose(error)
        elif not error.retryable and error.reason not in ELSEWHERE:
            raise ended_by(error)
        if failure.other_node or error.reason in MOVED:
            self._connection.leave(stream.node)
        budget = self._budget = self._budget or self._connection.budget()
        await self._connection.clock.sleep(budget.failed(error, failure.retry_after_s))

    def _lose(self, error: TidelogError) -> None:
        """Hold nothing any more: others may have it by now."""
        LOGGER.info("the place in group %s was lost: %s", self._join.group, error)
        self._member = None
        self.caught_up = False
        self.arrived.clear()
        self.lost += self.holdings.clear()
        self.commits.fail(self.gone(error.text))
        self.changed.set()

    def gone(self, why: str) -> TidelogError:
        """Return what happens to whoever still acts for a place that is lost."""
        return error_of(
            "STALE_MEMBER_EPOCH",
            f"the place in group {self._join.group} is no longer this consumer's: {why}",
            metadata={"group": self._join.group},
        )

    def _request(self) -> wire.ConsumeRequest.Join:
        """Return what a new stream begins with: a new member, or one that goes on."""
        join = wire.ConsumeRequest.Join()
        join.CopyFrom(self._join)
        join.credit.CopyFrom(self.holdings.begin())
        if self._member is not None:
            join.member.CopyFrom(self._member)
            join.cursors.extend(self.holdings.cursors())
        return join

    def _take(self, message: wire.ConsumeResponse, stream: ConsumeStream) -> None:
        """Take one message."""
        match message.WhichOneof("event"):
            case "records":
                for records in message.records.partitions:
                    self.holdings.take(records)
                self.give_credit()
            case "joined":
                self._take_joined(message.joined, stream)
            case "assigned":
                self._assign(message.assigned.cursors)
            case "revoke":
                self._revoke(message.revoke)
            case "committed":
                self.commits.settle(message.committed)
            case _:
                self._take_sign(message)
        self.changed.set()

    def _take_sign(self, message: wire.ConsumeResponse) -> None:
        """Take what is said between records; an event of a newer node says nothing."""
        match message.WhichOneof("event"):
            case "caught_up" | "fell_behind" as sign:
                self.caught_up = sign == "caught_up"
            case "gap":
                self.holdings.gap(message.gap)
            case "diverged":
                at = message.diverged.partition
                trouble = Trouble(diverged_error(message.diverged))
                self.holdings.trouble((at.topic, at.partition), trouble)
            case _:
                pass

    def give_credit(self) -> None:
        """Let the node send more, if enough has become free."""
        if self.is_heard and (credit := self.holdings.grant()) is not None:
            self._say(wire.ConsumeRequest(credit=credit))

    def _take_joined(self, joined: wire.ConsumeResponse.Joined, stream: ConsumeStream) -> None:
        self._member = joined.member
        if stream.joined:
            return
        self._budget = None
        stream.joined = True
        self._joined.set()
        stream.beat(joined.session_timeout.seconds + joined.session_timeout.nanos / 1e9)
        for request in self.commits.again():
            self._say(request)
        paused = [held.at for held in self.holdings.by_key.values() if held.paused]
        if paused:
            self._say_paused(paused, paused=True)

    def _assign(self, cursors: Iterable[common.Cursor]) -> None:
        """Hold partitions; one that a resumed stream goes on with stays as it is."""
        for cursor in cursors:
            at = (cursor.topic, cursor.partition)
            known = self.holdings.by_key.get(at)
            if known and known.revoke_by_s is None and known.place.offset == cursor.offset:
                continue
            epoch = cursor.leader_epoch if cursor.HasField("leader_epoch") else None
            held = Held(at, cursor.offset, epoch, announced=not self._announce)
            self.holdings.add(held)
            if known is not None and not known.going:  # it was taken, and comes again
                self.lost.append(known)
                self.hand_over([known] if known.revoke_by_s is not None else ())
            self.arrived.append(held)
            self.caught_up = False

    def _revoke(self, revoke: wire.ConsumeResponse.Revoke) -> None:
        """Stop with partitions; the consumer gives them back once nobody works on them."""
        left_s = revoke.time_left.seconds + revoke.time_left.nanos / 1e9
        unknown: list[Key] = []
        for each in revoke.partitions:
            held = self.holdings.by_key.get((each.topic, each.partition))
            if held is None:  # it was given back, but the stream broke
                unknown.append((each.topic, each.partition))
                continue
            held.ask_back(self._stream, self._connection.clock.monotonic(), left_s)
            self.holdings.forget(held)
        if unknown:
            self._revoked(unknown)
        self.give_credit()
        self.on_revoke()

    def _revoked(self, keys: Sequence[Key]) -> None:
        partitions = [common.TopicPartition(topic=at[0], partition=at[1]) for at in keys]
        revoked = wire.ConsumeRequest.Revoked(partitions=partitions)
        self._say(wire.ConsumeRequest(revoked=revoked))

    def _say_paused(self, keys: Sequence[Key], *, paused: bool) -> None:
        partitions = [common.TopicPartition(topic=at[0], partition=at[1]) for at in keys]
        pause = wire.ConsumeRequest.Pause(partitions=partitions, paused=paused)
        self._say(wire.ConsumeRequest(pause=pause))

    def _say(self, request: wire.ConsumeRequest) -> None:
        """Say something if a stream is open and joined."""
        if self._stream is not None and self._stream.joined:
            self._stream.put(request)


def _nothing() -> None:
    """Do nothing: nobody has asked to be told."""

"""Be a member of a group: at least once, through broken connections and seeks."""

import asyncio
import signal
from collections.abc import AsyncIterator
from itertools import count

import grpc
from events import say, say_record, say_row_error
from google.protobuf.duration_pb2 import Duration
from refusal import refusal_of

from tidelog.v1 import common_pb2, group_service_pb2, group_service_pb2_grpc

HEARTBEAT_S = 2
"""A member says something at least every third of its session timeout, 8 s."""
SILENCE_S = 15
"""The node says something every 5 s; after so long there is no node at the other end."""
RESUME_S = 10
"""How long the node keeps our place while we are cut off."""
PAUSE_S = 0.2
CREDIT = common_pb2.Credit(records=100, bytes=1 << 20)
"""What may be on its way to us. It is given back as we finish."""
LOST_PLACE = {"UNKNOWN_MEMBER", "STALE_MEMBER_EPOCH"}
"""The group has moved on without us, or was sent elsewhere: join anew."""

Request = group_service_pb2.ConsumeRequest


class Member:
    """One member, over as many streams as its life takes."""

    def __init__(self, channel: grpc.aio.Channel, group: str, topic: str) -> None:
        """Know where to go; nothing is joined yet."""
        self._groups = group_service_pb2_grpc.ConsumerGroupServiceStub(channel)
        self._group = group
        self._topic = topic
        self._membership: common_pb2.Membership | None = None
        self._places: dict[int, common_pb2.Cursor] = {}  # behind what we have finished
        self._outbox: asyncio.Queue[Request] = asyncio.Queue()
        self._commits: dict[int, list[common_pb2.Cursor]] = {}  # sent, by correlation id
        self._numbers = count(1)
        self._leaving = False

    async def live(self) -> None:
        """Join, work, and come back after every break, until told to leave.

        Told so while it is cut off, it does not come back: its place ends with the resume timeout.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._leave)
        while not self._leaving:
            try:
                await self._session()
                say("left")
                return
            except TimeoutError:
                say("cut", status="SILENT", reason=None)
            except grpc.aio.AioRpcError as error:
                self._broken(error)
            await asyncio.sleep(PAUSE_S)

    async def _session(self) -> None:
        """Join or resume, and hear one stream to its end."""
        self._outbox = asyncio.Queue()  # what the last stream did not send is void,
        self._commits.clear()  # and nobody will answer what it did
        call = self._groups.Consume(self._requests(self._join()))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SILENCE_S) as silence:
                async for response in call:
                    silence.reschedule(loop.time() + SILENCE_S)
                    self._hear(response)
        finally:
            call.cancel()

    async def _requests(self, join: Request.Join) -> AsyncIterator[Request]:
        """Yield what there is to say, and a heartbeat whenever there was nothing for a while."""
        yield Request(join=join)
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    request = await self._outbox.get()
            except TimeoutError:
                request = Request(heartbeat=Request.Heartbeat())
            yield request
            if request.HasField("leave"):
                return

    def _join(self) -> Request.Join:
        """Return the first message: a new member, or the one that we were, where we were."""
        join = Request.Join(
            group=self._group,
            topics=[self._topic],
            credit=CREDIT,
            resume_timeout=Duration(seconds=RESUME_S),
        )
        if self._membership is not None:
            join.member.CopyFrom(self._membership)
            join.cursors.extend(self._places.values())
        return join

    def _leave(self) -> None:
        """Give everything back and go."""
        self._leaving = True
        self._outbox.put_nowait(Request(leave=Request.Leave()))

    def _broken(self, error: grpc.aio.AioRpcError) -> None:
        """Decide how to come back: as who we were, or anew.

        Raises:
            AioRpcError: there is no way back.
        """
        refusal = refusal_of(error)
        if refusal is None or refusal.retryable:  # the connection broke, or the node is stopping
            say("cut", status=error.code().name, reason=refusal.reason if refusal else None)
        elif refusal.reason in LOST_PLACE:
            say("fenced", status=error.code().name, reason=refusal.reason)
            self._membership = None
            self._places.clear()
        else:
            raise error

    def _hear(self, response: group_service_pb2.ConsumeResponse) -> None:
        match response.WhichOneof("event"):
            case "joined":
                self._membership = member = response.joined.member
                say("joined", member_id=member.member_id, member_epoch=member.member_epoch)
            case "assigned":
                for cursor in response.assigned.cursors:
                    self._places[cursor.partition] = cursor
                    say("assigned", partition=cursor.partition, offset=cursor.offset)
            case "revoke":
                self._hand_over(response.revoke)
            case "records" if not self._leaving:
                self._work(response.records)
            case "committed":
                self._note_commit(response.committed)
            case "caught_up":
                say("caught_up")
            case "gap":
                gap = response.gap
                say("gap", expected=gap.expected_offset, next=gap.next_offset)
            case _:
                pass  # heartbeats, and what a later version may add

    def _work(self, records: common_pb2.Records) -> None:
        """Do the work first, then commit it: a record may come twice, but none is lost."""
        given_back = common_pb2.Credit()
        finished: list[common_pb2.Cursor] = []
        for step in records.partitions:
            for batch in step.batches:
                for record in batch.records:
                    say_record(step.next.partition, batch, record)
                given_back.records += len(batch.records)
                given_back.bytes += batch.ByteSize()
            self._places[step.next.partition] = step.next
            if step.batches:
                finished.append(step.next)
        if finished:
            self._commit(finished)
            self._outbox.put_nowait(Request(credit=given_back))

    def _commit(self, cursors: list[common_pb2.Cursor]) -> None:
        number = next(self._numbers)
        self._commits[number] = cursors
        commit = Request.Commit(correlation_id=number, cursors=cursors)
        self._outbox.put_nowait(Request(commit=commit))

    def _note_commit(self, committed: group_service_pb2.ConsumeResponse.Committed) -> None:
        """Print what became of a commit; rows come in the order of its cursors."""
        cursors = self._commits.pop(committed.correlation_id)
        for cursor, row in zip(cursors, committed.results, strict=True):
            if row.HasField("error"):
                say_row_error(cursor.partition, row.error)
            else:
                say("committed", partition=cursor.partition, offset=cursor.offset)

    def _hand_over(self, revoke: group_service_pb2.ConsumeResponse.Revoke) -> None:
        """Give partitions back. What we have finished of them is committed before, in order."""
        for part in revoke.partitions:
            self._places.pop(part.partition, None)
            say("revoked", partition=part.partition)
        revoked = Request.Revoked(partitions=revoke.partitions)
        self._outbox.put_nowait(Request(revoked=revoked))

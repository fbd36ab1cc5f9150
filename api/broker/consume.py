"""Consume in a group: become a member, or be one again, and be served over one stream.

Whoever is taken in is watched over from then on: a client that goes before it hears of its
membership leaves nobody's partitions behind.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from api.broker.consume_actions import SessionDoors
from api.broker.consume_events import Opening, Rejoin
from api.broker.consume_session import ConsumeSession
from api.broker.group_configs import GroupConfigs
from api.broker.group_topics import ImageTopics
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord, MemberId, StreamNumber
from consumer_groups.requests import Cursor, Join, Resume
from consumer_groups.views import Joined, MemberView
from model.errors import ErrorCode, RequestError
from model.principal import Principal
from model.result import Result

MEMBER_ID_BYTES: Final = 8
STREAM_BYTES: Final = 8
STREAM_MASK: Final = (1 << 63) - 1
NAMELESS: Final = "member"
"""Stands in the member id of a client that has no name."""


@dataclass(frozen=True, slots=True)
class Consume:
    """The use case; one for each node. Loop only."""

    doors: SessionDoors
    configs: GroupConfigs

    async def __call__(self, principal: Principal, opening: Opening) -> ConsumeSession:
        """Return the session of a new member, or of one that resumes; close it in any case.

        Raises:
            RequestError: INVALID_REQUEST, UNKNOWN_TOPIC, LIMIT_EXCEEDED; of one that resumes
                UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH.
        """
        rand = self.doors.node.rand
        stream = StreamNumber(int.from_bytes(rand.randbytes(STREAM_BYTES), "big") & STREAM_MASK)
        try:
            opening, member = await self._member(principal, opening, stream)
        except RequestError as refusal:
            if refusal.code is not ErrorCode.UNKNOWN_TOPIC or self.doors.node.forwarding is None:
                raise
            await self.doors.node.quorum.read_barrier()  # others may know of it already
            opening, member = await self._member(principal, opening, stream)
        session = ConsumeSession(self.doors, principal, opening=opening, member=member)
        self.doors.members.attach(session, member)
        self.doors.members.at_join.note(opening.group, member.member_id, opening.at_join)
        return session

    async def _member(
        self, principal: Principal, opening: Opening, stream: StreamNumber
    ) -> tuple[Opening, MemberView]:
        """Return the member, and what it has said, with where its start lies by now.

        Who resumes has heard before that it is a member: its start was committed with its join, but
        for what others had then, and begins where it lay then.
        """
        if opening.rejoin is not None:
            member = await self._resume(opening, opening.rejoin, stream)
            at_join = self.doors.members.at_join.of(opening.group, member.member_id)
            return replace(opening, at_join=at_join), member
        self.doors.state.check_led(opening.group)  # else all that is looked up is so in vain
        at_join = await self.doors.starts.at_join(principal, opening)
        opening = replace(opening, at_join=at_join)
        return opening, await self._join(principal, opening, stream)

    async def _join(
        self, principal: Principal, opening: Opening, stream: StreamNumber
    ) -> MemberView:
        doors, group = self.doors, opening.group
        suffix = doors.node.rand.randbytes(MEMBER_ID_BYTES).hex()
        settings = self.configs.of(group)
        request = Join(
            group=group,
            new_member_id=MemberId(f"{principal.client_id or NAMELESS}-{suffix}"),
            stream=stream,
            topics=opening.topics,
            instance_id=opening.instance_id,
            client_id=principal.client_id,
            host=principal.host,
            session_timeout_ms=_first(opening.session_timeout_ms, settings.session_timeout_ms),
            rebalance_timeout_ms=_first(
                opening.rebalance_timeout_ms, settings.rebalance_timeout_ms
            ),
            resume_timeout_ms=_first(opening.resume_timeout_ms, settings.resume_timeout_ms),
            assignor=settings.assignor.value,
            starts=tuple(
                Cursor(partition=partition, offset=offset)
                for partition, offset in opening.at_join.items()
            ),
        )
        try:
            joined = await doors.state.call(
                group,
                lambda machine, now: machine.join(
                    replace(request, alike=doors.members.starting_late(group)),
                    now=now,
                    topics=ImageTopics(doors.node.quorum.image),
                ),
            )
        except asyncio.CancelledError:
            doors.members.abandon(group, request.new_member_id, stream)
            raise
        return joined.member

    async def _resume(self, opening: Opening, rejoin: Rejoin, stream: StreamNumber) -> MemberView:
        request = Resume(
            group=opening.group,
            member_id=rejoin.member_id,
            member_epoch=rejoin.member_epoch,
            stream=stream,
            instance_id=opening.instance_id,
        )

        def decide(machine: GroupMachine) -> Result[GroupRecord, Joined]:
            resumed = machine.resume(request)
            wanted = resumed.response.member.topics
            if opening.topics and set(opening.topics) != set(wanted):
                detail = f"topics: a member resumes with those that it has: {', '.join(wanted)}"
                raise RequestError(ErrorCode.INVALID_REQUEST, detail, field="topics")
            return resumed

        doors = self.doors
        try:
            joined = await doors.state.call(opening.group, lambda machine, _: decide(machine))
        except asyncio.CancelledError:
            doors.members.lost(opening.group, rejoin.member_id, stream)
            raise
        return joined.member


def _first(asked: int | None, else_ms: int) -> int:
    return else_ms if asked is None else asked

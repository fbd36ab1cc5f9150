"""What groups need when nobody asks: topics that come, grow and go, and offsets that expire (P30).

Metadata and groups are two logs. A change of the first is carried into the second by one task, as
often as it takes: after a crash between the two, and where the disk was full, by the next round.
Each group is changed by a decision of its own: no number of groups makes one too large, and what is
refused of one group is no other one's loss.
"""

from asyncio import Semaphore, TaskGroup
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final, TypeAlias

from api.broker.context import BrokerContext
from api.broker.group_configs import GroupConfigs
from api.broker.group_state import GroupState
from api.broker.group_topics import ImageTopics
from cluster.controller.image import MetadataDelta, MetadataImage
from consumer_groups.machine import EXPIRED_AT_ONCE_MAX, GroupMachine
from consumer_groups.records import GroupRecord
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, TopicId, TopicName
from model.result import Result

ON_THEIR_WAY_MAX: Final = 32
"""Changes of groups that are decided and not committed yet: they share what the disk does."""

Decision: TypeAlias = Result[GroupRecord, bool]


class GroupUpkeep:
    """The task; one for each node. Loop only."""

    def __init__(
        self,
        context: BrokerContext,
        state: GroupState,
        configs: GroupConfigs,
        *,
        turn: Callable[[], Awaitable[None]],
    ) -> None:
        """Follow the metadata from `start` on; `turn` lets others run."""
        self._turn = turn
        self._node = context
        self._state = state
        self._configs = configs
        self._to_distribute: set[TopicName] = set()
        self._to_forget: set[TopicId] = set()
        self._behind: set[GroupId] = set()
        """Groups that could not follow their topics, for now."""
        self._all = False
        self._running = False
        self._stopped = False

    def start(self) -> None:
        """Begin, with the groups whose topics may have changed before a stop."""
        self._node.quorum.subscribe(self._changed)
        if self._node.forwarding is not None:  # else there is nobody to take groups over from
            self._state.follow_roles(began=self._began)
        self._to_distribute |= self._node.quorum.image.topics.keys()
        self._run()

    def stop(self) -> None:
        """Do nothing more."""
        self._stopped = True

    def tend(self) -> None:
        """Do what falls due once in a while: expire groups; repeat what could not be done."""
        self._all = True
        self._run()

    def _began(self, number: int) -> None:
        """Look at all that whoever coordinated a partition's groups before may have left undone."""
        del number
        self._to_distribute |= self._node.quorum.image.topics.keys()
        self.tend()

    def _changed(self, _: MetadataImage, delta: MetadataDelta) -> None:
        self._to_distribute |= {topic.name for topic in (*delta.created, *delta.changed)}
        self._to_forget |= set(delta.deleted)
        if self._to_distribute or self._to_forget:
            self._run()

    def _run(self) -> None:
        if not self._running and not self._stopped:
            self._running = True
            self._node.spawn.start(self._work(), "upkeep of groups")

    async def _work(self) -> None:
        """Work until nothing is left, or until something could not be done for now."""
        try:
            done = True
            while done and self._is_asked and not self._stopped:
                if self._all:
                    self._all = False
                    done = await self._look_at_all()
                done = await self._forget_all() and done
                done = await self._distribute_all() and done
        except RequestError as refusal:  # no group was even looked at
            self._refused("", refusal)
        finally:
            self._running = False

    @property
    def _is_asked(self) -> bool:
        return bool(self._all or self._to_forget or self._to_distribute or self._behind)

    async def _look_at_all(self) -> bool:
        """Expire groups, and find the topics that went before a stop; false: not all was done."""
        done = True
        # A clock that may be wrong expires nothing, as it deletes nothing (P39).
        more = not self._node.append_clock.in_doubt
        while more:
            try:
                more = any(len(gone) == EXPIRED_AT_ONCE_MAX for gone in await self._expire())
            except RequestError as refusal:
                self._refused("", refusal)
                more = done = False
            await self._turn()
        known = await self._state.read_each(lambda machine: machine.topic_ids())
        topics = self._node.quorum.image.topics_by_id
        self._to_forget |= {topic for part in known for topic in part if topic not in topics}
        return done

    async def _expire(self) -> list[tuple[GroupId, ...]]:
        retention_ms = self._configs.retention_of()
        return await self._state.each(
            lambda machine, now: machine.expire(now=now, retention_ms=retention_ms)
        )

    async def _forget_all(self) -> bool:
        """Let every group forget the topics that are gone; false: some could not for now."""
        gone = frozenset(self._to_forget)
        if not gone:
            return True
        parts = await self._state.read_each(lambda machine: machine.groups_with_topics(gone))

        def forget(group: GroupId, machine: GroupMachine, now: AppendTimeMs) -> Decision:
            topics = ImageTopics(self._node.quorum.image)
            return machine.forget_topics(group, gone, now=now, topics=topics)

        refused = await self._in_each(sorted(group for part in parts for group in part), forget)
        if not refused:
            self._to_forget -= gone
        return not refused

    async def _distribute_all(self) -> bool:
        """Let every group follow its topics that have changed; false: some could not for now."""
        names, self._to_distribute = self._to_distribute, set()
        try:
            wanting = await self._wanting(names)
        except RequestError:
            self._to_distribute |= names
            raise
        groups, self._behind = wanting | self._behind, set()

        def distribute(group: GroupId, machine: GroupMachine, now: AppendTimeMs) -> Decision:
            topics = ImageTopics(self._node.quorum.image)
            return machine.topics_changed(group, now=now, topics=topics)

        self._behind |= await self._in_each(sorted(groups), distribute)
        return not self._behind

    async def _wanting(self, names: Collection[TopicName]) -> set[GroupId]:
        """Return the groups of which a member wants one of some topics."""
        if not names:
            return set()
        parts = await self._state.read_each(lambda machine: machine.groups_wanting(names))
        return {group for part in parts for group in part}

    async def _in_each(
        self,
        groups: Sequence[GroupId],
        decide: Callable[[GroupId, GroupMachine, AppendTimeMs], Decision],
    ) -> set[GroupId]:
        """Have each of some groups changed by a decision of its own; return those that were not.

        One decision for each pass of the loop, which others share; several go to the disk together.
        """
        refused: set[GroupId] = set()
        room = Semaphore(ON_THEIR_WAY_MAX)

        async def change(group: GroupId) -> None:
            try:
                await self._state.tend(group, partial(decide, group))
            except RequestError as refusal:
                if refusal.code is not ErrorCode.NOT_COORDINATOR:  # else another node looks
                    refused.add(group)
                    self._refused(group, refusal)
            finally:
                room.release()

        async with TaskGroup() as changes:
            for group in groups:
                await room.acquire()
                if self._stopped:
                    break
                changes.create_task(change(group))
                await self._turn()
        return refused

    def _refused(self, group: str, why: RequestError) -> None:
        """Tell of what could not be done; the next round begins with it."""
        self._node.note("group_upkeep_refused", group=group, why=str(why))

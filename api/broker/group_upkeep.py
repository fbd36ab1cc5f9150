"""What groups need when nobody asks: topics that come, grow and go, and offsets that expire (P30).

Metadata and groups are two logs. A change of the first is carried into the second by one task, as
often as it takes: after a crash between the two, and where the disk was full, by the next round.
"""

from collections.abc import Awaitable, Callable, Collection
from functools import partial

from api.broker.context import BrokerContext
from api.broker.group_configs import GroupConfigs
from api.broker.group_state import GroupState
from api.broker.group_topics import ImageTopics
from api.broker.turns import Turns
from cluster.controller.image import MetadataDelta, MetadataImage
from consumer_groups.machine import EXPIRED_AT_ONCE_MAX, GroupMachine
from consumer_groups.records import GroupRecord
from model.errors import RequestError
from model.ids import AppendTimeMs, GroupId, TopicId, TopicName
from model.result import Result


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
        self._all = False
        self._running = False
        self._stopped = False

    def start(self) -> None:
        """Begin, with the groups whose topics may have changed before a stop."""
        self._node.quorum.subscribe(self._changed)
        self._to_distribute |= self._node.quorum.image.topics.keys()
        self._run()

    def stop(self) -> None:
        """Do nothing more."""
        self._stopped = True

    def tend(self) -> None:
        """Do what falls due once in a while: expire groups; repeat what could not be done."""
        self._all = True
        self._run()

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
            while (self._all or self._to_forget or self._to_distribute) and not self._stopped:
                if self._all:
                    self._all = False
                    await self._look_at_all()
                gone = frozenset(self._to_forget)
                if gone:
                    await self._forget(gone)
                    self._to_forget -= gone
                await self._distribute_all()
        except RequestError:
            return  # no room, or no outcome: the next round begins with it
        finally:
            self._running = False

    async def _look_at_all(self) -> None:
        """Expire groups, and find the topics that went before a stop."""
        # A clock that may be wrong expires nothing, as it deletes nothing (P39).
        more = not self._node.append_clock.in_doubt
        while more:
            more = any(len(gone) == EXPIRED_AT_ONCE_MAX for gone in await self._expire())
        known = await self._state.read_each(lambda machine: machine.topic_ids())
        topics = self._node.quorum.image.topics_by_id
        self._to_forget |= {topic for part in known for topic in part if topic not in topics}

    async def _expire(self) -> list[tuple[GroupId, ...]]:
        retention_ms = self._configs.retention_of()
        return await self._state.each(
            lambda machine, now: machine.expire(now=now, retention_ms=retention_ms)
        )

    async def _forget(self, gone: Collection[TopicId]) -> None:
        def decide(
            machine: GroupMachine, now: AppendTimeMs
        ) -> Result[GroupRecord, tuple[GroupId, ...]]:
            topics = ImageTopics(self._node.quorum.image)
            return machine.forget_topics(gone, now=now, topics=topics)

        await self._state.each(decide)

    async def _distribute_all(self) -> None:
        """Let every group follow its topics that have changed."""
        names, self._to_distribute = self._to_distribute, set()
        turns = Turns(self._node.clock, self._turn)
        try:
            for group in await self._wanting(names):
                await self._distribute(group)
                await turns.give_way()
        except RequestError:
            self._to_distribute |= names
            raise

    async def _wanting(self, names: Collection[TopicName]) -> list[GroupId]:
        """Return the groups of which a member wants one of some topics."""
        if not names:
            return []
        wanting = partial(_wanting, names=names)
        parts = await self._state.read_each(wanting)
        return sorted(group for part in parts for group in part)

    async def _distribute(self, group: GroupId) -> None:
        await self._state.call(
            group,
            lambda machine, now: machine.topics_changed(
                group, now=now, topics=ImageTopics(self._node.quorum.image)
            ),
        )


def _wanting(machine: GroupMachine, *, names: Collection[TopicName]) -> set[GroupId]:
    return {
        group for group, member in machine.members() if any(name in names for name in member.topics)
    }

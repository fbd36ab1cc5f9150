"""Figures of groups for whoever watches the node: how many, in what state, how far behind.

They are worked out when somebody asks. Figures of each group are left out where there are very
many: what names them would be more than a monitor can keep.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from api.broker.context import BrokerContext
from api.broker.group_state import GroupState
from api.broker.search import Searches
from api.broker.turns import Turns
from consumer_groups.machine import GroupMachine
from consumer_groups.views import GroupState as Standing
from consumer_groups.views import GroupSummary, OffsetRow
from model.errors import RequestError
from model.ids import GroupId
from model.limits import GROUPS_MAX

GROUPS_SHOWN_MAX: Final = 500
"""With more groups none is told by itself, unless all are asked for."""
ROWS_SHOWN_MAX: Final = 10_000
"""Pairs of group and topic that are told at most, in any case; the first by name."""


class GroupFigure(NamedTuple):
    """One group."""

    group: GroupId
    members: int
    lag: Mapping[str, int]
    """By topic: records between its committed offsets and what can be read."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All groups of this node, or what could be learned of them."""

    states: Mapping[str, int] = field(default_factory=dict)
    """Groups in each state; every state is there."""
    groups: Sequence[GroupFigure] = ()
    commits: int = 0
    """Offsets committed since the start."""
    rebalances: int = 0
    """Rises of a group's epoch since the start."""


class GroupFigures:
    """The use case; one for each node. Loop only."""

    def __init__(self, context: BrokerContext, state: GroupState, searches: Searches) -> None:
        """Count from `start` on."""
        self._node = context
        self._state = state
        self._searches = searches
        self._before = (0, 0)

    def start(self) -> None:
        """Leave out what was counted while the log was read."""
        self._node.spawn.start(self._begin(), "figures of groups")

    async def __call__(self, *, every_group: bool) -> Figures:
        """Return the figures as they are now; nothing but zeros where groups cannot be read."""
        states = dict.fromkeys((state.value for state in Standing), 0)
        try:
            commits, rebalances = await self._counted()
            summaries = await self._summaries()
            states |= Counter(summary.state.value for summary in summaries)
            shown = every_group or len(summaries) <= GROUPS_SHOWN_MAX
            groups = await self._each(summaries) if shown else ()
        except RequestError:  # no coordinator here now: it says so to whoever needs it
            return Figures(states)
        return Figures(states, groups, commits - self._before[0], rebalances - self._before[1])

    async def _begin(self) -> None:
        try:
            self._before = await self._counted()
        except RequestError:
            return  # a leadership was lost before it could answer, and its counts with it

    async def _counted(self) -> tuple[int, int]:
        parts = await self._state.read_each(lambda machine: machine.counted())
        return sum(part[0] for part in parts), sum(part[1] for part in parts)

    async def _summaries(self) -> list[GroupSummary]:
        parts = await self._state.read_each(lambda machine: machine.list(limit=GROUPS_MAX.value))
        return sorted(chain.from_iterable(parts), key=lambda summary: summary.group)

    async def _each(self, summaries: Sequence[GroupSummary]) -> Sequence[GroupFigure]:
        turns = Turns(self._node.clock, self._searches.turn)
        found: list[GroupFigure] = []
        rows = 0
        for summary in summaries:
            offsets = await self._state.look(summary.group, partial(_offsets, group=summary.group))
            lag = self._lag(offsets)
            rows += max(1, len(lag))
            if rows > ROWS_SHOWN_MAX:
                break
            found.append(GroupFigure(summary.group, summary.member_count, lag))
            await turns.give_way()
        return found

    def _lag(self, offsets: Sequence[OffsetRow]) -> Mapping[str, int]:
        """Return how far behind a group is; a partition without commit counts from its start."""
        lag: dict[str, int] = {}
        for row in offsets:
            partition = self._node.partitions.by_id(row.partition)
            if partition is None:
                continue  # the topic is gone, and so will be the row; or other nodes have it
            at = partition.log_start
            if row.committed is not None:
                at = max(at, row.committed.offset)
            behind = max(0, partition.last_stable_offset - at)
            lag[partition.topic.name] = lag.get(partition.topic.name, 0) + behind
        return lag


def _offsets(machine: GroupMachine, *, group: GroupId) -> Sequence[OffsetRow]:
    """Return a group's offsets; none when it was deleted meanwhile."""
    return () if machine.revision(group) is None else machine.offsets(group)

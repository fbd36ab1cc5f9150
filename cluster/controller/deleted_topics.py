"""Topics that are gone, and the nodes that have not said yet that no file of them is left.

A node that was away finds here what it has to remove, however it caught up. One that stays away for
ever says nothing, so each node by itself is waited for with no more than `REMOVALS_AWAITED_MAX`
topics: beyond it the oldest of that node's own are given up, and nobody else's. What it still has
of those is of a topic that nobody knows, and such files are told and never removed (P46).

All of it is values, each of which shares with the one before whatever did not change: to remember
one topic more, or one less, costs the same beside ten thousand others as beside none.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from operator import itemgetter
from types import MappingProxyType
from typing import Final, NamedTuple

from model.ids import NodeId, TopicId
from model.limits import REMOVALS_AWAITED_MAX

_SHARDS: Final = 64
"""Ids are random: a shard of ten thousand has some 150, and no other is copied for a change."""
_NUMBER: Final = itemgetter(1)


class GivenUp(NamedTuple):
    """A node that is not waited for any more, though it has not spoken of this topic."""

    node: NodeId
    topic_id: TopicId


class AwaitedTopics:
    """Those of one node, in the order of their deletion. Immutable."""

    __slots__ = ("_shards",)

    def __init__(self, shards: tuple[Mapping[TopicId, int], ...] = ({},) * _SHARDS) -> None:
        """Begin with none; each shard holds the number of every deletion, rising."""
        self._shards = shards

    def __len__(self) -> int:
        """Count them."""
        return sum(map(len, self._shards))

    def __contains__(self, topic_id: TopicId) -> bool:
        """Tell whether one is among them."""
        return topic_id in self._shards[_shard_of(topic_id)]

    def __iter__(self) -> Iterator[TopicId]:
        """Yield their ids."""
        return (topic_id for topic_id, _ in self.numbered())

    def numbered(self) -> list[tuple[TopicId, int]]:
        """Return their ids, each with the number of its deletion."""
        return sorted((row for shard in self._shards for row in shard.items()), key=_NUMBER)

    @property
    def oldest(self) -> TopicId:
        """The one that was deleted first; there must be one."""
        firsts = (next(iter(shard.items())) for shard in self._shards if shard)
        return min(firsts, key=_NUMBER)[0]

    def plus(self, topic_id: TopicId, number: int) -> "AwaitedTopics":
        """Return them and one more, whose deletion has a higher number than all of theirs."""
        shard = {**self._shards[_shard_of(topic_id)]}
        shard.pop(topic_id, None)
        shard[topic_id] = number
        return self._with(_shard_of(topic_id), shard)

    def minus(self, topic_id: TopicId) -> "AwaitedTopics":
        """Return the others."""
        shard = {**self._shards[_shard_of(topic_id)]}
        del shard[topic_id]
        return self._with(_shard_of(topic_id), shard)

    def _with(self, place: int, shard: Mapping[TopicId, int]) -> "AwaitedTopics":
        return AwaitedTopics((*self._shards[:place], shard, *self._shards[place + 1 :]))


NONE_AWAITED: Final = AwaitedTopics()


class DeletedTopics(Mapping[TopicId, frozenset[NodeId]]):
    """By topic, in the order of the deletions: who has not said yet that its files are gone.

    Immutable. Looked at topic by topic it costs a look at each node that is waited for, and as a
    whole, as a snapshot does, a sort.
    """

    __slots__ = ("_by_node", "_deletions")

    def __init__(
        self, by_node: Mapping[NodeId, AwaitedTopics] | None = None, deletions: int = 0
    ) -> None:
        """Begin with none. `deletions`: the number that the next one gets."""
        self._by_node = MappingProxyType({} if by_node is None else by_node)
        self._deletions = deletions

    def __getitem__(self, topic_id: TopicId) -> frozenset[NodeId]:
        """Return the nodes that are waited for; KeyError: none is."""
        nodes = frozenset(node for node, topics in self._by_node.items() if topic_id in topics)
        if not nodes:
            raise KeyError(topic_id)
        return nodes

    def __iter__(self) -> Iterator[TopicId]:
        """Yield the topics, in the order in which they were deleted."""
        numbered = dict(row for topics in self._by_node.values() for row in topics.numbered())
        return iter(sorted(numbered, key=numbered.__getitem__))

    def __len__(self) -> int:
        """Count the topics, each once."""
        return len({topic_id for topics in self._by_node.values() for topic_id in topics})

    def __bool__(self) -> bool:
        """Tell whether anybody is waited for."""
        return bool(self._by_node)

    def __repr__(self) -> str:
        """Show them as the mapping that they are."""
        return f"DeletedTopics({dict(self)})"

    def of(self, node: NodeId) -> AwaitedTopics:
        """Return the topics with which one node is waited for."""
        return self._by_node.get(node, NONE_AWAITED)

    def deleted(
        self, topic_id: TopicId, nodes: AbstractSet[NodeId]
    ) -> tuple["DeletedTopics", tuple[GivenUp, ...]]:
        """Wait for these nodes with one more; return what becomes of it, and what is given up."""
        by_node, given_up = dict(self._by_node), list[GivenUp]()
        for node in sorted(nodes):
            topics = self.of(node).plus(topic_id, self._deletions)
            while len(topics) > REMOVALS_AWAITED_MAX.value:
                given_up.append(GivenUp(node, topics.oldest))
                topics = topics.minus(given_up[-1].topic_id)
            by_node[node] = topics
        return DeletedTopics(by_node, self._deletions + 1), tuple(given_up)

    def removed(self, topic_id: TopicId, nodes: Iterable[NodeId]) -> "DeletedTopics":
        """Wait for these nodes no more with a topic; for others, and with others, as before."""
        by_node = dict(self._by_node)
        for node in nodes:
            if topic_id in self.of(node):
                by_node[node] = self.of(node).minus(topic_id)
                if not by_node[node]:
                    del by_node[node]
        return DeletedTopics(by_node, self._deletions)

    def without(self, node: NodeId) -> "DeletedTopics":
        """Wait for a node no more."""
        others = {one: topics for one, topics in self._by_node.items() if one != node}
        return DeletedTopics(others, self._deletions)


def _shard_of(topic_id: TopicId) -> int:
    return topic_id[-1] % _SHARDS

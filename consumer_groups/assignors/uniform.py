"""As even as can be, and as little moved as can be.

Of two members, the one with fewer partitions never has room for two more of what the other has:
members that want the same topics differ by at most one. Where all want the same, no assignment that
is as even moves fewer partitions; where they do not, every move goes from a fuller member to one
that is emptier by two or more.

What has no member is given out first, topics with the fewest takers before others; then the fullest
member gives to the emptiest that may take. Every move makes the sum of squares smaller, so it ends.
Cost: a few heap steps for each partition that is given or moved, times the number of different
subscriptions; what stays where it is costs nothing more than being looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain, groupby, repeat
from operator import attrgetter

from consumer_groups.assignors.candidate import Candidates, Targets
from consumer_groups.records import MemberId
from model.ids import PartitionId, TopicId


def uniform(candidates: Candidates, partitions: Mapping[TopicId, int]) -> Targets:
    """Return the targets."""
    table = _Table(candidates, partitions)
    table.give_out()
    while table.even_out():
        pass
    return table.targets()


class _Table:
    """Who has how much, by topic; who has least, by subscription."""

    def __init__(self, candidates: Candidates, partitions: Mapping[TopicId, int]) -> None:
        """Let everybody keep what he had and still may have."""
        self._partitions = partitions
        self._candidates = candidates
        self._moved: set[MemberId] = set()
        """Who has something else than before."""
        self._held: dict[MemberId, dict[TopicId, list[int]]] = {}
        self._loads: dict[MemberId, int] = {}
        self._free = {topic: set(range(count)) for topic, count in partitions.items()}
        emptiest: dict[frozenset[TopicId], list[tuple[int, MemberId]]] = {}
        self._takers: dict[TopicId, int] = dict.fromkeys(partitions, 0)
        self._heap_of: dict[MemberId, list[tuple[int, MemberId]]] = {}
        for name in sorted(candidates):
            candidate = candidates[name]
            self._held[name] = held = {
                topic: self._kept(topic, numbers)
                for topic, numbers in by_topic(candidate.target)
                if topic in candidate.topics and topic in self._free
            }
            self._loads[name] = sum(map(len, held.values()))
            if self._loads[name] != len(candidate.target):
                self._moved.add(name)
            heap = emptiest.setdefault(candidate.topics, [])
            heap.append((self._loads[name], name))
            self._heap_of[name] = heap
            for topic in candidate.topics & partitions.keys():
                self._takers[topic] += 1
        self._heaps: dict[TopicId, list[list[tuple[int, MemberId]]]] = {}
        for topics, heap in emptiest.items():
            heapify(heap)
            for topic in topics:
                self._heaps.setdefault(topic, []).append(heap)

    def give_out(self) -> None:
        """Give what nobody has to whoever has least."""
        for topic in sorted(self._partitions, key=lambda topic: (self._takers[topic], topic)):
            for number in sorted(self._free[topic]):
                emptiest = self._emptiest(topic)
                if emptiest is None:
                    break
                self._put(emptiest[1], topic, number)

    def even_out(self) -> bool:
        """Let fuller members give to emptier ones, the fullest first; tell whether any did.

        One round may not be enough: who gives late makes room for those that came before him.
        """
        moved = False
        least = min(self._loads.values(), default=0)  # never falls: who gives keeps more than that
        fullest = [(-load, name) for name, load in self._loads.items()]
        heapify(fullest)
        while fullest:
            negative, name = heappop(fullest)
            if -negative != self._loads[name]:  # has been given something meanwhile
                heappush(fullest, (-self._loads[name], name))
                continue
            if -negative < least + 2:  # nobody behind has more
                break
            best = min(self._offers(name), default=None)
            if best is None or best[0] > self._loads[name] - 2:
                continue
            _, _, topic, taker = best
            self._put(taker, topic, self._take(name, topic))
            heappush(fullest, (-self._loads[name], name))
            moved = True
        return moved

    def targets(self) -> Targets:
        """Return what everybody has; who has the same as before has the same tuple."""
        return {
            name: _in_order(held) if name in self._moved else self._candidates[name].target
            for name, held in self._held.items()
        }

    def _kept(self, topic: TopicId, numbers: list[int]) -> list[int]:
        """Return what a member keeps of a topic: what there is, and nobody else has kept."""
        free = self._free[topic]
        kept = numbers if free.issuperset(numbers) else [one for one in numbers if one in free]
        free.difference_update(kept)
        return kept

    def _offers(self, name: MemberId) -> Iterator[tuple[int, int, TopicId, MemberId]]:
        """Yield for each topic of a member: load of who could take of it, whose name comes last.

        Between equal takers the topic of which the member has most goes first.
        """
        for topic, numbers in self._held[name].items():
            emptiest = self._emptiest(topic)
            if emptiest is not None and numbers:
                yield emptiest[0], -len(numbers), topic, emptiest[1]

    def _emptiest(self, topic: TopicId) -> tuple[int, MemberId] | None:
        """Return the load and name of whoever has least among those that want a topic."""
        found: tuple[int, MemberId] | None = None
        for heap in self._heaps.get(topic, ()):
            while heap[0][0] != self._loads[heap[0][1]]:  # his load has changed since
                heappop(heap)
            found = heap[0] if found is None else min(found, heap[0])
        return found

    def _put(self, name: MemberId, topic: TopicId, number: int) -> None:
        self._held[name].setdefault(topic, []).append(number)
        self._change_load(name, +1)

    def _take(self, name: MemberId, topic: TopicId) -> int:
        number = self._held[name][topic].pop()
        self._change_load(name, -1)
        return number

    def _change_load(self, name: MemberId, by: int) -> None:
        self._loads[name] += by
        self._moved.add(name)
        heappush(self._heap_of[name], (self._loads[name], name))


def by_topic(rising: Sequence[PartitionId]) -> Iterator[tuple[TopicId, list[int]]]:
    """Yield the topics of partitions in rising order, each with its numbers."""
    for topic, rows in groupby(rising, key=attrgetter("topic")):
        yield topic, [row.number for row in rows]


def _in_order(held: Mapping[TopicId, list[int]]) -> tuple[PartitionId, ...]:
    rows = (map(PartitionId, repeat(topic), sorted(held[topic])) for topic in sorted(held))
    return tuple(chain.from_iterable(rows))

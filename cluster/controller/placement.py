"""Where replicas go: even over brokers and racks, for this topic first, then for the cluster.

Greedy, partition by partition. The leader's place goes to the broker that leads fewest partitions
of the topic, each other one to the rack that the partition uses least and there to the broker that
holds fewest replicas of the topic; equal ones are told apart by what they carry of other topics,
and last by a random order, so that many small topics do not all begin on the same broker. A broker
that is down, or is about to stop, gets a replica only when there are too few others: a topic can be
created while a node restarts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from cluster.controller.image import BrokerImage
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import NodeId
from model.ports import Rand

Assignment: TypeAlias = tuple[NodeId, ...]
"""The replicas of one partition, preferred leader first."""


class Loads:
    """How much brokers carry: leaderships that are theirs by preference, and replicas."""

    def __init__(self, assignments: Iterable[Assignment] = ()) -> None:
        """Count what is there."""
        self.leaders: Counter[NodeId] = Counter()
        self.replicas: Counter[NodeId] = Counter()
        for assignment in assignments:
            self.add(assignment)

    def add(self, assignment: Assignment) -> None:
        """Count one more partition."""
        self.leaders[assignment[0]] += 1
        self.replicas.update(assignment)


def loads_of(state: MetadataState) -> Loads:
    """Return what brokers carry of all topics, to count on."""
    loads = Loads()
    loads.leaders.update(state.preferred_held)
    loads.replicas.update(state.replicas_held)
    return loads


def check_factor(factor: int, brokers: int) -> None:
    """Accept a number of replicas for each partition.

    Raises:
        RequestError: INVALID_REPLICATION_FACTOR, saying how many brokers there are.
    """
    if not 1 <= factor <= brokers:
        there = "is 1 broker" if brokers == 1 else f"are {brokers} brokers"
        raise RequestError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"{factor} replicas of each partition, but there {there}",
            replication_factor=str(factor),
            brokers=str(brokers),
        )


class Spread:
    """Places the partitions of one topic, one after the other."""

    def __init__(
        self,
        brokers: Mapping[NodeId, BrokerImage],
        *,
        present: Sequence[Assignment],
        loads: Loads,
        rand: Rand,
    ) -> None:
        """Go on behind the topic's `present` partitions.

        `loads` is of the whole cluster, this topic included; what is placed is counted in.
        """
        self._racks = {node: broker.rack for node, broker in brokers.items()}
        self._here = Loads(present)
        self._all = loads
        self._order = _shuffled(sorted(brokers), rand)
        self._able = [node for node in self._order if brokers[node].standing.may_lead]
        self._away = {node for node in brokers if not brokers[node].standing.may_join}

    def place(self, partitions: int, factor: int) -> tuple[Assignment, ...]:
        """Return the replicas of that many partitions more.

        Raises:
            RequestError: INVALID_REPLICATION_FACTOR; NO_ELIGIBLE_LEADER, no broker is running.
        """
        check_factor(factor, len(self._order))
        if not self._able:
            detail = "no broker is running that could lead a partition"
            raise RequestError(ErrorCode.NO_ELIGIBLE_LEADER, detail)
        return tuple(self._next(factor) for _ in range(partitions))

    def _next(self, factor: int) -> Assignment:
        chosen = [min(self._able, key=self._as_leader)]
        while len(chosen) < factor:
            racks = Counter([self._racks[node] for node in chosen])
            others = (node for node in self._order if node not in chosen)
            chosen.append(min(others, key=lambda node: self._as_follower(node, racks)))
        assignment = tuple(chosen)
        self._here.add(assignment)
        self._all.add(assignment)
        return assignment

    def _as_leader(self, node: NodeId) -> tuple[int, ...]:
        here, everywhere = self._here, self._all
        return (
            here.leaders[node],
            here.replicas[node],
            everywhere.leaders[node],
            everywhere.replicas[node],
        )

    def _as_follower(self, node: NodeId, racks: Counter[str | None]) -> tuple[int, ...]:
        return (
            node in self._away,
            racks[self._racks[node]],
            self._here.replicas[node],
            self._all.replicas[node],
        )


def _shuffled(nodes: list[NodeId], rand: Rand) -> list[NodeId]:
    """Return the nodes in a random order (Fisher and Yates)."""
    for last in range(len(nodes) - 1, 0, -1):
        other = rand.randrange(last + 1)
        nodes[last], nodes[other] = nodes[other], nodes[last]
    return nodes

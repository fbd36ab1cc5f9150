"""Placement: even within a topic, then within the cluster; over racks; the same for one seed."""

from collections import Counter
from random import Random

import pytest

from cluster.controller.image import BrokerImage, Standing
from cluster.controller.placement import Assignment, Loads, Spread
from model.errors import RequestError
from model.ids import NodeId, RegistrationEpoch
from tests.controller_bench import Bench, Cluster, command


def brokers(count: int, *racks: str, away: int = 0) -> dict[NodeId, BrokerImage]:
    """Return that many brokers, racks in turn, the last `away` of them fenced."""
    return {
        NodeId(node): BrokerImage(
            node=NodeId(node),
            directory=bytes(16),
            registration_epoch=RegistrationEpoch(1),
            endpoints=(),
            rack=racks[node % len(racks)] if racks else None,
            version="",
            standing=Standing.FENCED if node >= count - away else Standing.RUNNING,
        )
        for node in range(count)
    }


def placed(
    among: dict[NodeId, BrokerImage],
    partitions: int,
    factor: int,
    *,
    present: tuple[Assignment, ...] = (),
    loads: Loads | None = None,
    seed: int = 1,
) -> tuple[Assignment, ...]:
    loads = Loads(present) if loads is None else loads
    spread = Spread(among, present=present, loads=loads, rand=Random(seed))
    return spread.place(partitions, factor)


def unevenness(counts: Counter[NodeId], among: dict[NodeId, BrokerImage]) -> int:
    held = [counts[node] for node in among]
    return max(held) - min(held)


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 8, 12, 30])
def test_leaders_and_replicas_of_a_topic_are_even(size: int, partitions: int) -> None:
    among = brokers(size)
    for factor in range(1, size + 1):
        for seed in range(3):
            loads = Loads(placed(among, partitions, factor, seed=seed))
            assert unevenness(loads.leaders, among) <= 1
            assert unevenness(loads.replicas, among) <= 1


def test_every_replica_is_another_broker_and_the_first_one_is_running() -> None:
    among = brokers(5, "a", "b", away=2)
    for assignment in placed(among, 40, 3):
        assert len(set(assignment)) == 3
        assert among[assignment[0]].standing is Standing.RUNNING


@pytest.mark.parametrize(("size", "racks"), [(6, "abc"), (7, "abc"), (9, "abc"), (4, "ab")])
def test_replicas_of_a_partition_are_in_as_many_racks_as_there_are(size: int, racks: str) -> None:
    among = brokers(size, *racks)
    for assignment in placed(among, 50, len(racks)):
        assert len({among[node].rack for node in assignment}) == len(racks)


def test_racks_of_one_size_are_even_down_to_the_broker() -> None:
    among = brokers(9, "a", "b", "c")
    loads = Loads(placed(among, 30, 3))
    assert unevenness(loads.leaders, among) <= 1
    assert unevenness(loads.replicas, among) <= 1


def test_who_is_away_gets_a_replica_only_if_there_are_too_few_others() -> None:
    among = brokers(4, away=1)
    assert all(NodeId(3) not in assignment for assignment in placed(among, 12, 3))
    assert all(assignment[3] == 3 for assignment in placed(among, 12, 4))


def test_the_same_seed_places_the_same_and_others_do_not_all_begin_alike() -> None:
    among = brokers(5)
    assert placed(among, 8, 3, seed=4) == placed(among, 8, 3, seed=4)
    assert len({placed(among, 1, 3, seed=seed)[0][0] for seed in range(40)}) == 5


def test_a_topic_that_grows_goes_on_evenly() -> None:
    among = brokers(4)
    first = placed(among, 3, 2)
    more = placed(among, 5, 2, present=first)
    loads = Loads((*first, *more))
    assert unevenness(loads.leaders, among) == 0
    assert unevenness(loads.replicas, among) == 0


def test_many_small_topics_fill_the_cluster_evenly() -> None:
    among = brokers(4)
    loads = Loads()
    for seed in range(100):
        placed(among, 1, 2, loads=loads, seed=seed)
    assert unevenness(loads.leaders, among) <= 1
    assert unevenness(loads.replicas, among) <= 1


def test_a_broker_that_joins_gets_its_share_of_a_new_topic_and_not_all_of_it() -> None:
    among = brokers(4)
    old = Loads(placed(brokers(3), 30, 3))
    loads = Loads(placed(among, 8, 3, loads=old))
    assert unevenness(loads.leaders, among) == 0


def test_more_replicas_than_brokers_are_refused() -> None:
    for factor, brokers_there, said in ((4, 3, "are 3 brokers"), (2, 1, "is 1 broker")):
        with pytest.raises(RequestError, match="INVALID_REPLICATION_FACTOR") as refused:
            placed(brokers(brokers_there), 1, factor)
        assert refused.value.detail == f"{factor} replicas of each partition, but there {said}"
    with pytest.raises(RequestError, match="NO_ELIGIBLE_LEADER"):
        placed(brokers(3, away=3), 1, 1)


@pytest.mark.parametrize(("size", "factor"), [(1, 1), (2, 2), (3, 3), (5, 3)])
def test_an_internal_topic_has_up_to_three_replicas_of_each_of_its_partitions(
    size: int, factor: int
) -> None:
    bench = Bench()
    for node in range(size):
        bench.execute(command(f"register node={node}"))
    bench.execute(command("create name=__consumer_offsets partitions=8 internal=yes"))
    rows = bench.image.topics["__consumer_offsets"].partitions  # type: ignore[index]
    assert [len(row.replicas) for row in rows] == [factor] * 8
    leaders = Counter(row.leader for row in rows)
    assert max(leaders.values()) - min(leaders.values()) <= 1
    assert len(leaders) == size


def test_partitions_that_are_added_are_placed_beside_those_that_are_there() -> None:
    bench = Cluster(size=4).bench()
    bench.execute(command("create name=wide partitions=2 replicas=2"))
    bench.execute(command("grow name=wide to=4"))
    rows = bench.image.topics["wide"].partitions  # type: ignore[index]
    assert sorted(Counter(row.leader for row in rows).values()) == [1, 1, 1, 1]

"""Empty directories: when a cluster forms, and when they wait, join, or are refused."""

import pytest

from cluster.controller.bootstrap import Answer, Empty, Form, Founder, Join, Member, Wait, next_step
from cluster.controller.registration import Barrier, RegistrationRefused
from model.ids import NodeId

SEEDS = ("a:9093", "b:9093", "c:9093")


def empty(node: int, *, cluster: str = "tide", directory: int | None = None) -> Empty:
    founder = Founder(NodeId(node), bytes([node if directory is None else directory] * 16))
    return Empty(cluster, founder)


ONE, TWO, THREE = empty(1), empty(2), empty(3)
VOTERS = (ONE.founder, TWO.founder, THREE.founder)
ALL: dict[str, Answer] = dict(zip(SEEDS, (ONE, TWO, THREE), strict=True))


def test_three_empty_nodes_form_one_cluster_whoever_asks() -> None:
    assert {next_step(me, SEEDS, ALL) for me in (ONE, TWO, THREE)} == {Form(VOTERS)}


@pytest.mark.parametrize("missing", SEEDS)
def test_nothing_forms_while_a_seed_does_not_answer(missing: str) -> None:
    heard = {seed: one for seed, one in ALL.items() if seed != missing}
    assert next_step(ONE, SEEDS, heard) == Wait((missing,))


def test_who_asks_after_another_has_founded_enters_the_same_quorum() -> None:
    assert next_step(TWO, SEEDS, ALL | {"a:9093": Member("tide", VOTERS)}) == Form(VOTERS)
    only_one = {"a:9093": Member("tide", VOTERS)}
    assert next_step(THREE, SEEDS, only_one) == Form(VOTERS)


def test_two_of_three_volumes_wiped() -> None:
    """No second cluster forms: they join what is left of the first, or wait for it."""
    again = [empty(1, directory=11), empty(2, directory=12)]
    wiped: dict[str, Answer] = dict(zip(SEEDS[:2], again, strict=True))
    for me in again:
        assert next_step(me, SEEDS, wiped) == Wait(("c:9093",))
        left = wiped | {"c:9093": Member("tide", VOTERS)}
        assert next_step(me, SEEDS, left) == Join(("c:9093",))


def test_three_empty_nodes_started_with_the_same_seeds_next_to_a_live_cluster() -> None:
    live: dict[str, Answer] = {seed: Member("tide", VOTERS) for seed in SEEDS}
    for node in (4, 5, 6):
        assert next_step(empty(node), SEEDS, live) == Join(SEEDS)


def test_a_node_that_is_no_seed_waits_until_the_seeds_have_formed_a_cluster() -> None:
    assert next_step(empty(4), SEEDS, ALL) == Wait(())


@pytest.mark.parametrize("answer", [empty(2, cluster="ebb"), Member("ebb", VOTERS)])
def test_nodes_of_another_cluster_id_are_refused(answer: Answer) -> None:
    with pytest.raises(RegistrationRefused) as refused:
        next_step(ONE, SEEDS, ALL | {"b:9093": answer})
    assert (refused.value.barrier, refused.value.exit_code) == (Barrier.FOREIGN_CLUSTER, 12)


def test_two_empty_nodes_configured_with_one_id() -> None:
    with pytest.raises(RegistrationRefused) as refused:
        next_step(ONE, SEEDS, ALL | {"b:9093": empty(1, directory=7)})
    assert (refused.value.barrier, refused.value.exit_code) == (Barrier.DUPLICATE_ID, 12)
    assert "a:9093 and b:9093 are two nodes with the id 1" in refused.value.detail


def test_a_node_that_is_reached_under_two_names_is_one() -> None:
    names = ("a:9093", "localhost:9093")
    assert next_step(ONE, names, dict.fromkeys(names, ONE)) == Form((ONE.founder,))

"""Who may be which node: a test for each row of what can happen to a directory or an id."""

from dataclasses import replace

import pytest

from cluster.controller.brokers import FormCluster
from cluster.controller.image import BrokerImage
from cluster.controller.registration import Barrier, RegistrationRefused
from model.errors import RequestError
from model.ids import NodeId
from tests.controller_bench import Bench, Cluster, command
from tests.controller_shown import shown_row

WIPED = "ee" * 16


def register(bench: Bench, node: int, **given: str) -> BrokerImage:
    answer, _ = bench.decide(bench.registration({"node": str(node), **given}))
    assert isinstance(answer, BrokerImage)
    return answer


def refused(bench: Bench, node: int, **given: str) -> RegistrationRefused:
    """Have a registration refused, and see that it changed nothing."""
    before = bench.image
    with pytest.raises(RegistrationRefused) as refusal:
        bench.decide(bench.registration({"node": str(node), **given}))
    image, delta = bench.machine.freeze(before.applied)
    assert image == before
    assert not delta.brokers
    return refusal.value


def live(bench: Bench, *nodes: int) -> None:
    bench.circumstances = replace(bench.circumstances, live=frozenset(map(NodeId, nodes)))


def test_one_volume_wiped_and_the_node_started_again() -> None:
    """Its old replicas are in no ISR and no ELR any more; then it joins as any follower does."""
    bench = Cluster().bench()
    known = bench.image.brokers[NodeId(2)]
    registered = register(bench, 2, directory=WIPED, remembered="1")
    assert registered.registration_epoch == known.registration_epoch + 1
    assert registered.directory.hex() == WIPED
    assert shown_row(bench.row("orders")) == "0:1+2+3@1.0 isr=1+3"
    bench.execute(command("isr leader=1 at=orders/0 with=2+3"))
    assert shown_row(bench.row("orders")) == "0:1+2+3@1.0"


def test_a_wiped_member_of_the_elr_is_no_candidate() -> None:
    bench = Cluster().bench()
    bench.execute(command("stand nodes=3 as=fenced"))
    bench.execute(command("stand nodes=2 as=fenced"))
    assert shown_row(bench.row("orders")) == "0:1+2+3@1.0 isr=1 elr=2"
    register(bench, 2, directory=WIPED)
    assert shown_row(bench.row("orders")) == "0:1+2+3@1.0 isr=1 lost=2"


def test_the_wiped_volume_was_the_leaders() -> None:
    """One that holds everything leads; the empty one would have led with nothing."""
    bench = Cluster().bench()
    register(bench, 1, directory=WIPED)
    assert shown_row(bench.row("orders")) == "0:1+2+3@2.1 isr=2+3"


def test_two_of_three_volumes_wiped() -> None:
    """What is left leads; the partition says whose copies are gone, until the leader answers."""
    bench = Cluster().bench()
    register(bench, 1, directory=WIPED)
    register(bench, 2, directory=WIPED)
    assert shown_row(bench.row("orders")) == "0:1+2+3@3.2 isr=3 lost=2"
    bench.execute(command("answer leader=3 at=orders/0"))
    assert shown_row(bench.row("orders")) == "0:1+2+3@3.2 isr=3"


def test_two_of_three_volumes_wiped_and_the_third_one_lost_power() -> None:
    """It may lack what only the others had: followers and readers are told that it may."""
    bench = Cluster().bench()
    bench.execute(command("stand nodes=1+2+3 as=fenced"))
    register(bench, 1, directory=WIPED)
    register(bench, 2, directory=WIPED)
    assert shown_row(bench.row("orders")) == "0:1+2+3@-.0 isr=3 lost=2"
    register(bench, 3, clean="no")
    assert shown_row(bench.row("orders")) == "0:1+2+3@3.1 isr=3 lost=2 lossy=1"


def test_all_volumes_wiped() -> None:
    """Nothing is left that could lead: only the command that loses knowingly helps."""
    bench = Cluster().bench()
    for node in (1, 2, 3):
        register(bench, node, directory=WIPED)
    assert shown_row(bench.row("orders")) == "0:1+2+3@-.2 isr=- lost=2+3"
    assert bench.shown_in_full("orders").endswith("lost=2+3")
    bench.execute(command("unclean at=orders/0 replica=1"))
    assert shown_row(bench.row("orders")) == "0:1+2+3@1.3 isr=1 lossy=3"


def test_a_directory_cloned_and_started_beside_the_original() -> None:
    """Both remember the same; the first one lives, so the second is refused."""
    bench = Cluster().bench()
    register(bench, 2, remembered="5", process="aa", host="10.0.0.2")
    live(bench, 1, 2, 3)
    refusal = refused(bench, 2, remembered="6", process="bb", host="10.0.0.9")
    assert (refusal.barrier, refusal.exit_code) == (Barrier.DUPLICATE_ID, 12)
    live(bench, 1, 3)
    assert register(bench, 2, remembered="7", process="bb").registration_epoch == 7


def test_a_clone_of_an_earlier_time_started_beside_the_original() -> None:
    bench = Cluster().bench()
    register(bench, 2, remembered="5", process="aa", host="10.0.0.2")
    live(bench, 1, 2, 3)
    refusal = refused(bench, 2, remembered="5", process="bb")
    assert (refusal.barrier, refusal.exit_code) == (Barrier.OLD_DIRECTORY, 12)


@pytest.mark.parametrize("remembered", ["1", "4", "5"])
def test_yesterdays_image_of_a_directory_restored(remembered: str) -> None:
    """The directory asks with no more than was seen: it is an older copy, alive or not."""
    bench = Cluster().bench()
    register(bench, 2, remembered="5", process="aa")
    refusal = refused(bench, 2, remembered=remembered, process="bb")
    assert (refusal.barrier, refusal.exit_code) == (Barrier.OLD_DIRECTORY, 12)
    assert "empty it and let the node copy everything anew" in refusal.detail
    register(bench, 2, remembered="1", process="cc", directory=WIPED)


def test_a_node_that_died_before_it_heard_its_registration_is_no_older_copy() -> None:
    """It had written down what it asked with: so it asks with more the next time."""
    bench = Cluster().bench()
    first = register(bench, 2, remembered="5", process="aa")
    again = register(bench, 2, remembered="6", process="bb")
    assert again.registration_epoch == first.registration_epoch + 1
    after_a_wipe = register(bench, 2, remembered="1", process="cc", directory=WIPED)
    assert after_a_wipe.registration_epoch == again.registration_epoch + 1
    unheard = register(bench, 2, remembered="2", process="dd", directory=WIPED)
    assert unheard.registration_epoch == after_a_wipe.registration_epoch + 1


def test_who_asks_twice_is_answered_twice() -> None:
    """The answer was lost: the same process is registered already, in the same epoch."""
    bench = Cluster().bench()
    first = register(bench, 2, remembered="5", process="aa", clean="no")
    row = bench.row("orders")
    live(bench, 1, 2, 3)
    assert register(bench, 2, remembered="5", process="aa", clean="no") == first
    assert bench.row("orders") == row


def test_two_nodes_configured_with_one_id() -> None:
    """The refusal names the first one's address, and the first one is undisturbed."""
    bench = Cluster().bench()
    register(bench, 2, host="10.0.0.2", process="aa", remembered="2")
    live(bench, 1, 2, 3)
    refusal = refused(bench, 2, directory=WIPED, host="10.0.0.9", process="bb", remembered="1")
    assert (refusal.barrier, refusal.exit_code) == (Barrier.DUPLICATE_ID, 12)
    assert refusal.detail == (
        "node 2 is running already, at peer 10.0.0.2:9093 with the directory "
        f"{'02' * 16}: give this one another node id, or stop that one"
    )
    assert refusal.metadata["address"] == "peer 10.0.0.2:9093"


def test_an_address_of_six_colons_and_none_at_all() -> None:
    bench = Cluster().bench()
    live(bench, 1, 2, 3)
    assert "at an address that it did not say" in refused(bench, 2).detail
    live(bench)
    register(bench, 2, host="::1")
    live(bench, 2)
    assert "at peer [::1]:9093" in refused(bench, 2).detail


def test_a_node_of_another_cluster_id() -> None:
    bench = Bench()
    bench.decide(FormCluster(cluster_id="tide"))
    refusal = refused(bench, 1, cluster="ebb")
    assert (refusal.barrier, refusal.exit_code) == (Barrier.FOREIGN_CLUSTER, 12)
    assert 'this is the cluster "tide", the directory belongs to "ebb"' in refusal.detail
    register(bench, 1, cluster="tide")


def test_a_node_that_comes_before_the_cluster_is_formed_asks_again() -> None:
    bench = Bench()
    early = bench.registration({"node": "1", "cluster": "tide"})
    with pytest.raises(
        RequestError, match='NO_QUORUM: the cluster "tide" is not formed yet'
    ) as told:
        bench.decide(early)
    assert told.value.code.retryable
    bench.decide(FormCluster(cluster_id="tide"))
    bench.decide(early)


def test_a_release_that_cannot_work_here_ends_with_the_code_of_a_newer_format() -> None:
    bench = Cluster(size=1).bench()
    refusal = refused(bench, 2, levels="2-3")
    assert (refusal.barrier, refusal.exit_code) == (Barrier.FEATURE_LEVEL, 13)


def test_a_uuid_of_another_length_is_refused() -> None:
    bench = Bench()
    request = bench.registration({"node": "1"})
    with pytest.raises(RequestError, match="INVALID_REQUEST: directory: a uuid has 16 bytes"):
        bench.decide(replace(request, directory=b"short"))
    with pytest.raises(RequestError, match="INVALID_REQUEST: incarnation: a uuid has 16 bytes"):
        bench.decide(replace(request, incarnation=bytes(15)))


def test_a_registration_carries_what_others_are_told_of_the_node() -> None:
    bench = Bench()
    registered = register(
        bench, 1, host="10.0.0.1", rack="r1", version="0.2.0", levels="1-2", process="aa"
    )
    assert bench.image.brokers[NodeId(1)] == registered
    assert (registered.rack, registered.version, registered.levels) == ("r1", "0.2.0", (1, 2))
    assert registered.endpoints[0].host == "10.0.0.1"

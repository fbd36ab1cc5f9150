"""Whether a node that is asked to stop would be missed, and somebody is about to come."""

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.controller.departure import would_be_missed
from cluster.controller.image import BrokerImage, MetadataImage, PartitionImage, Standing
from model.ids import LeaderEpoch, NodeId, RegistrationEpoch, TopicName
from tests.cluster_nodes import ids

ME = NodeId(1)
RUNNING, FENCED = Standing.RUNNING, Standing.FENCED


def image(in_sync: tuple[int, ...], third: Standing, *, least: int = 2) -> MetadataImage:
    """Return metadata of one partition on nodes 1 to 3, the last of which stands so."""
    row = PartitionImage(0, ME, LeaderEpoch(0), ids(1, 2, 3), ids(*in_sync))
    topic: Any = SimpleNamespace(
        partitions=(row,), settings=SimpleNamespace(min_insync_replicas=least)
    )
    standings = {1: RUNNING, 2: RUNNING, 3: third}
    brokers = {
        NodeId(node): BrokerImage(
            node=NodeId(node),
            directory=bytes(16),
            registration_epoch=RegistrationEpoch(1),
            endpoints=(),
            rack=None,
            version="",
            standing=standing,
        )
        for node, standing in standings.items()
    }
    return MetadataImage(topics={TopicName("orders"): topic}, brokers=brokers)


@pytest.mark.parametrize(
    ("in_sync", "third", "least", "missed"),
    [
        ((1, 2), RUNNING, 2, True),  # node 3 catches up
        ((1, 2), FENCED, 2, False),  # nobody comes
        ((1, 2), Standing.STOPPING, 2, False),  # nor is to be waited for
        ((1, 2, 3), RUNNING, 2, False),  # enough are left
        ((2, 3), RUNNING, 2, False),  # it counts for nothing here
        ((1, 2), RUNNING, 1, False),  # one suffices
        ((1,), RUNNING, 1, True),
        ((1,), RUNNING, 2, False),  # it takes no records as it is
    ],
)
def test_it_is_missed_where_others_come_and_too_few_are_left(
    in_sync: tuple[int, ...], third: Standing, *, least: int, missed: bool
) -> None:
    assert would_be_missed(image(in_sync, third, least=least), ME) is missed

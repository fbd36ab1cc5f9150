"""What the metadata say of a partition, in the words of replication: the two know no other."""

from cluster.controller.image import PartitionImage
from cluster.replication.events import Assignment
from model.ids import LeaderEpoch


def assignment_of(row: PartitionImage) -> Assignment:
    """Return what the metadata say of a partition, as replicas are told."""
    return Assignment(
        row.leader,
        LeaderEpoch(row.leader_epoch),
        row.lossy_epoch,
        row.replicas,
        frozenset(row.isr),
        row.partition_epoch,
        bool(row.unclean or row.lost),
    )

"""How far somebody may have read of a partition: what lies beyond is no place in it."""

from api.broker.readable import Readable
from cluster.shell.hosted_partition import HostedPartition
from model.ids import Offset


def reach_of(partition: Readable) -> Offset:
    """Return the end of what anybody may have been told of, as far as can be known here.

    Where this node leads that is the end of its log, not the mark: it may be deposed and not know
    it yet, while a leader of a later epoch has committed the rest and told readers so. Whoever
    stands there waits for the mark.
    """
    mark = partition.high_watermark
    if isinstance(partition, HostedPartition) and partition.leads:
        return max(mark, partition.log.log_end)
    return mark

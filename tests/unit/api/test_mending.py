"""What a start has lost counts in elections until it is mended, and no longer (P3)."""

from types import SimpleNamespace
from typing import Any

from api.node.mending import Mending
from cluster.controller.image import LogEnd
from logstore.paths import LOG, by_offset
from logstore.recovery_report import Finding
from model.ids import LeaderEpoch, Offset, PartitionId, TopicId

ORDERS = PartitionId(TopicId(bytes(16)), 0)
EPOCH = LeaderEpoch(3)


def segment(base: int) -> Any:
    name = f"partitions/orders/{by_offset(Offset(base), LOG)}"
    return SimpleNamespace(base_offset=Offset(base), log_name=name)


def mending(log: Any, *lost: str) -> Mending:
    repaired = [Finding(name, 0, 1, "the file ends") for name in lost]
    opened = SimpleNamespace(
        clean=True,
        report=SimpleNamespace(repaired=repaired),
        directory=SimpleNamespace(partitions={ORDERS: log}),
    )
    parts: Any = SimpleNamespace(opened=opened)
    links: Any = SimpleNamespace(route=lambda *_: None, subscribe=lambda *_: None)
    return Mending(parts, links)


def test_a_log_is_whole_again_as_far_as_its_segments_are() -> None:
    segments = [segment(base) for base in (0, 10, 20)]
    log = SimpleNamespace(
        segment_list=segments,
        log_start=Offset(0),
        log_end=Offset(30),
        leader_epochs=SimpleNamespace(epoch_at=lambda _: EPOCH, latest=EPOCH),
    )
    one = mending(log, segments[1].log_name, segments[2].log_name)
    hosted: Any = SimpleNamespace()
    ends = [one.end_of(ORDERS)]
    for mended in segments[1:]:
        one._told(hosted, mended)
        ends.append(one.end_of(ORDERS))
    assert ends == [LogEnd(EPOCH, Offset(end)) for end in (10, 20, 30)]
    assert not one.clean, "how it was found is what its registration says"

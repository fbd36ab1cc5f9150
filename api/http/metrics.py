"""The metrics page: plain counters, read and named at the moment of a scrape.

Nothing is counted for it on a hot path. Names, types and meanings stand in one table, from which
docs/reference/metrics.md is printed; a family that is not in it cannot be published.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from api.broker.group_figures import Figures
from api.http.view import NodeView
from api.loop_lag import BOUNDS_US
from cluster.shell.hosted_partition import HostedPartition

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PARTITIONS_SHOWN_MAX: Final = 2_000
"""With more partitions their own series are left out, unless `?detail=partition` asks for them."""


class Family(NamedTuple):
    """One metric."""

    kind: str
    """gauge, counter or histogram."""
    labels: tuple[str, ...]
    about: str


_TOPIC: Final = ("topic",)
_PARTITION: Final = ("topic", "partition")

FAMILIES: Final = {
    "tidelog_build_info": Family("gauge", ("version", "python"), "Always 1."),
    "tidelog_up": Family("gauge", (), "1 while the node is ready."),
    "tidelog_uptime_seconds": Family("gauge", (), "Since the process began to serve."),
    "tidelog_topics": Family("gauge", (), "Topics that exist."),
    "tidelog_partitions": Family("gauge", (), "Partitions on this node."),
    "tidelog_metadata_applied_index": Family(
        "gauge", (), "Newest entry of the metadata log that this node has applied."
    ),
    "tidelog_unclean_elections_total": Family(
        "counter",
        (),
        "Elections since the start by which this node leads a partition that may lack acknowledged "
        "records.",
    ),
    "tidelog_topic_records_in_total": Family(
        "counter", _TOPIC, "Records appended since the topic was created."
    ),
    "tidelog_topic_size_bytes": Family("gauge", _TOPIC, "Bytes of its segments on this node."),
    "tidelog_topic_partitions": Family("gauge", _TOPIC, "Partitions of the topic."),
    "tidelog_partition_log_start_offset": Family("gauge", _PARTITION, "First offset kept."),
    "tidelog_partition_high_watermark": Family(
        "gauge", _PARTITION, "First offset that consumers do not see yet."
    ),
    "tidelog_partition_log_end_offset": Family(
        "gauge", _PARTITION, "Offset that the next record gets."
    ),
    "tidelog_partition_written_end": Family(
        "gauge", _PARTITION, "End of what is written to a file."
    ),
    "tidelog_partition_flushed_end": Family("gauge", _PARTITION, "End of what is synced."),
    "tidelog_partition_leader_epoch": Family("gauge", _PARTITION, "Counts its leaderships."),
    "tidelog_partition_in_sync_replicas": Family("gauge", _PARTITION, "Size of the ISR."),
    "tidelog_partition_eligible_leader_replicas": Family(
        "gauge", _PARTITION, "Size of the ELR (KIP-966)."
    ),
    "tidelog_partition_size_bytes": Family("gauge", _PARTITION, "Bytes of its segments."),
    "tidelog_groups": Family("gauge", ("state",), "Consumer groups: empty, reconciling or stable."),
    "tidelog_group_members": Family("gauge", ("group",), "Members of the group."),
    "tidelog_group_lag_records": Family(
        "gauge",
        ("group", "topic"),
        "Records between the group's committed offsets and the high watermarks, in all partitions "
        "with a commit or an owner; without a commit from the log start on.",
    ),
    "tidelog_group_commits_total": Family(
        "counter", (), "Offsets committed since the start, one for each partition; seeks too."
    ),
    "tidelog_group_rebalances_total": Family(
        "counter",
        (),
        "Rises of a group's epoch since the start: of members, topics or place.",
    ),
    "tidelog_storage_disk_used_bytes": Family("gauge", (), "Bytes of all segments."),
    "tidelog_storage_disk_free_bytes": Family("gauge", (), "Free space when last looked at."),
    "tidelog_storage_disk_size_bytes": Family("gauge", (), "Size of the file system."),
    "tidelog_storage_segments": Family("gauge", (), "Segments of all partitions."),
    "tidelog_storage_offline": Family("gauge", (), "1 once a write or sync has failed."),
    "tidelog_storage_damaged_places": Family(
        "gauge", (), "Places in files that are known to be damaged: the log says which."
    ),
    "tidelog_storage_damage_found_total": Family(
        "counter", (), "Damaged places found since the start, those that are gone included."
    ),
    "tidelog_storage_segments_mended_total": Family(
        "counter", (), "Segments that are whole again, by other replicas, since the start."
    ),
    "tidelog_storage_scrubbed_bytes_total": Family(
        "counter", (), "Read again by the scrub since the start."
    ),
    "tidelog_storage_scrub_passes_total": Family(
        "counter", (), "Passes over all closed segments that the scrub has ended."
    ),
    "tidelog_buffers_bytes": Family("gauge", (), "Held for requests that wait for the disk."),
    "tidelog_read_buffers_bytes": Family(
        "gauge", (), "Reserved for long Kafka requests while they are read."
    ),
    "tidelog_answer_buffers_bytes": Family(
        "gauge", (), "Held for answers that clients have not taken yet."
    ),
    "tidelog_waiting_acks": Family("gauge", (), "Producers that wait for durability."),
    "tidelog_tasks": Family("gauge", (), "Tasks of the event loop."),
    "tidelog_component_total": Family(
        "counter", ("component", "counter"), "What components count about themselves."
    ),
    "tidelog_component": Family(
        "gauge", ("component", "counter"), "The same for what can also fall."
    ),
    "tidelog_event_loop_lag_seconds": Family(
        "histogram", (), "Duration of the loop's passes: what a client waited for others."
    ),
    "tidelog_event_loop_lag_max_seconds": Family("gauge", (), "The longest of them."),
}
GAUGES: Final = frozenset({"connections", "running"})
"""Names of counters that can fall."""

Sample = tuple[tuple[str, ...], float]


def render(view: NodeView, groups: Figures, *, every_partition: bool) -> bytes:
    """Return the page; prometheus-client is loaded with the first scrape."""
    import prometheus_client as prometheus  # noqa: PLC0415 - 80 ms that a node's start saves

    registry = prometheus.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(view, groups, every_partition=every_partition))
    prometheus.ProcessCollector(registry=registry)
    prometheus.PlatformCollector(registry=registry)
    prometheus.GCCollector(registry=registry)
    return prometheus.generate_latest(registry)


class _Collector:
    """Reads the node when it is asked."""

    def __init__(self, view: NodeView, groups: Figures, *, every_partition: bool) -> None:
        self._view = view
        self._groups = groups
        self._every_partition = every_partition

    def collect(self) -> "Iterator[Metric]":
        """Yield every family with its samples."""
        samples = gather(self._view, self._groups, every_partition=self._every_partition)
        for name, rows in samples.items():
            yield _metric(name, rows)
        yield _lag(self._view)


def _metric(name: str, samples: Iterable[Sample]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

    family = FAMILIES[name]
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(name, family.about, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric


def _lag(view: NodeView) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

    name = "tidelog_event_loop_lag_seconds"
    buckets, below = [], 0
    for bound, count in zip((*BOUNDS_US, None), view.lag.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound is None else str(bound / 1e6), below))
    metric = HistogramMetricFamily(name, FAMILIES[name].about)
    metric.add_metric((), buckets=buckets, sum_value=view.lag.total_us / 1e6)
    return metric


def gather(view: NodeView, groups: Figures, *, every_partition: bool) -> dict[str, list[Sample]]:
    """Return every sample but the histogram's, by family."""
    samples: dict[str, list[Sample]] = {
        name: [] for name, family in FAMILIES.items() if family.kind != "histogram"
    }
    _node(view, samples)
    _groups(groups, samples)
    partitions = list(view.broker.context.partitions)
    _storage(view, partitions, samples)
    by_topic: dict[str, list[HostedPartition]] = {}
    for partition in partitions:
        by_topic.setdefault(partition.topic.name, []).append(partition)
    for topic, hosted in sorted(by_topic.items()):
        label = (topic,)
        samples["tidelog_topic_records_in_total"].append(
            (label, sum(one.log.log_end for one in hosted))
        )
        samples["tidelog_topic_size_bytes"].append(
            (label, sum(one.log.size_bytes for one in hosted))
        )
        samples["tidelog_topic_partitions"].append((label, len(hosted)))
    if every_partition or len(partitions) <= PARTITIONS_SHOWN_MAX:
        for partition in partitions:
            _partition(partition, samples)
    return samples


def _node(view: NodeView, samples: dict[str, list[Sample]]) -> None:
    from platform import python_version  # noqa: PLC0415 - only a scrape asks

    image = view.broker.image
    plain: dict[str, float] = {
        "tidelog_up": view.health.is_ready,
        "tidelog_uptime_seconds": view.uptime_ms / 1000,
        "tidelog_topics": len(image.topics),
        "tidelog_metadata_applied_index": image.applied,
        "tidelog_unclean_elections_total": view.broker.lossy_elections.count,
        "tidelog_buffers_bytes": view.broker.context.memory.taken_bytes,
        "tidelog_read_buffers_bytes": view.broker.context.room.taken_bytes,
        "tidelog_answer_buffers_bytes": view.broker.context.shares.taken_bytes,
        "tidelog_tasks": view.tasks(),
        "tidelog_event_loop_lag_max_seconds": view.lag.max_us / 1e6,
    }
    for name, value in plain.items():
        samples[name].append(((), float(value)))
    samples["tidelog_build_info"].append(((view.version, python_version()), 1))
    for component, counters in view.counters.items():
        for counter, count in counters.snapshot().items():
            family = "tidelog_component" if counter in GAUGES else "tidelog_component_total"
            samples[family].append(((component, counter), count))


def _groups(groups: Figures, samples: dict[str, list[Sample]]) -> None:
    samples["tidelog_groups"] += [((state,), count) for state, count in groups.states.items()]
    samples["tidelog_group_commits_total"].append(((), groups.commits))
    samples["tidelog_group_rebalances_total"].append(((), groups.rebalances))
    for one in groups.groups:
        samples["tidelog_group_members"].append(((one.group,), one.members))
        samples["tidelog_group_lag_records"] += [
            ((one.group, topic), lag) for topic, lag in sorted(one.lag.items())
        ]


def _storage(
    view: NodeView, partitions: list[HostedPartition], samples: dict[str, list[Sample]]
) -> None:
    free, total = view.space()
    damage, scrubber = view.broker.context.damage, view.scrubber
    plain: dict[str, float] = {
        "tidelog_storage_damaged_places": len(damage.places),
        "tidelog_storage_damage_found_total": damage.found,
        "tidelog_storage_segments_mended_total": damage.healed,
        "tidelog_storage_scrubbed_bytes_total": scrubber.read_bytes if scrubber else 0,
        "tidelog_storage_scrub_passes_total": scrubber.passes if scrubber else 0,
        "tidelog_partitions": len(partitions),
        "tidelog_storage_disk_used_bytes": sum(one.log.size_bytes for one in partitions),
        "tidelog_storage_disk_free_bytes": free,
        "tidelog_storage_disk_size_bytes": total,
        "tidelog_storage_segments": sum(len(one.log.segments()) for one in partitions),
        "tidelog_storage_offline": view.broker.context.writer.offline,
        "tidelog_waiting_acks": sum(
            len(one.committed_acks) + len(one.written_acks) for one in partitions
        ),
    }
    for name, value in plain.items():
        samples[name].append(((), float(value)))


def _partition(partition: HostedPartition, samples: dict[str, list[Sample]]) -> None:
    image = partition.topic.partitions[partition.number]
    log = partition.log
    labels = (partition.topic.name, str(partition.number))
    plain = {
        "log_start_offset": log.log_start,
        "high_watermark": partition.high_watermark,
        "log_end_offset": log.log_end,
        "written_end": log.written_end,
        "flushed_end": log.flushed_end,
        "leader_epoch": partition.leader_epoch,
        "in_sync_replicas": len(image.isr),
        "eligible_leader_replicas": len(image.elr),
        "size_bytes": log.size_bytes,
    }
    for name, value in plain.items():
        samples[f"tidelog_partition_{name}"].append((labels, float(value)))


def reference() -> str:
    """Return the Markdown table of every family."""
    rows = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{name}` | {family.kind} | {', '.join(family.labels) or '-'} | {family.about} |"
        for name, family in FAMILIES.items()
    ]
    return "\n".join(rows)

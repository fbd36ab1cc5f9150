"""The page at `/`: this node, its topics, offsets and rates. Plain HTML that needs no script.

Everything that a client chose is escaped by the template engine, which escapes by default (P65).
Offsets are text in the page: no number ever passes through a browser's arithmetic.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final, NamedTuple

from api.http.rates import RateMeter, Rates
from api.http.view import NodeView
from cluster.shell.hosted_partition import HostedPartition

TOPICS_SHOWN_MAX: Final = 500
PARTITIONS_SHOWN_MAX: Final = 2_000
"""Rows of a page that a browser still shows at once; the rest is in the metrics."""
DAMAGE_SHOWN_MAX: Final = 20

_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class PartitionRow(NamedTuple):
    """One partition, as text."""

    topic: str
    number: int
    log_start: str
    high_watermark: str
    log_end: str
    not_flushed: str
    leader: str
    epoch: int
    size: str


class TopicRow(NamedTuple):
    """One topic, as text."""

    name: str
    partitions: int
    records: str
    rate: str
    size: str
    flush: str
    retention: str
    internal: bool


class StatusPage:
    """Renders the page. Loop only; the template is compiled with the first view."""

    def __init__(self, view: NodeView) -> None:
        """Show the node of `view`."""
        from jinja2 import Environment, select_autoescape  # noqa: PLC0415 - 80 ms; at first view

        environment = Environment(
            autoescape=select_autoescape(default=True, default_for_string=True),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        source = files(__package__).joinpath("templates/status.html").read_text(encoding="utf-8")
        self._template = environment.from_string(source)
        self._view = view
        self._meter = RateMeter()

    def render(self) -> str:
        """Return the HTML of this moment."""
        view = self._view
        context = view.broker.context
        topics = sorted(view.broker.image.topics.values(), key=lambda topic: topic.name)
        hosted = {
            topic.name: context.partitions.of_topic(topic.name)
            for topic in topics[:TOPICS_SHOWN_MAX]
        }
        ends: dict[str, int] = {
            name: sum(one.log.log_end for one in ones) for name, ones in hosted.items()
        }
        rates = self._meter.look(context.clock.monotonic_ms(), ends)
        now = datetime.fromtimestamp(context.clock.wall_ms() / 1000, UTC)
        return self._template.render(
            version=view.version,
            node=view.broker.node_id,
            cluster=view.broker.cluster_id,
            ready=view.health.is_ready,
            why_not=view.health.why_not(),
            is_open=bool(view.settings.exposed()),
            now=f"{now:%Y-%m-%d %H:%M:%S}",
            uptime=duration(view.uptime_ms),
            facts=list(self._facts()),
            damage=[str(place) for place in context.damage.places[:DAMAGE_SHOWN_MAX]],
            damage_left=max(0, len(context.damage.places) - DAMAGE_SHOWN_MAX),
            over=None if rates is None else duration(rates.over_ms),
            topics=[topic_row(name, ones, rates) for name, ones in hosted.items()],
            topics_left=max(0, len(topics) - TOPICS_SHOWN_MAX),
            partitions=[partition_row(one) for ones in hosted.values() for one in ones][
                :PARTITIONS_SHOWN_MAX
            ],
            partitions_left=max(0, len(context.partitions) - PARTITIONS_SHOWN_MAX),
        )

    def _facts(self) -> Iterator[tuple[str, str]]:
        """Yield name and value of what the node's table shows."""
        view, context = self._view, self._view.broker.context
        for door, address in view.addresses.items():
            yield f"{door} listener", address.text
        used = sum(one.log.size_bytes for one in context.partitions)
        free, total = view.space()
        yield "data directory", view.settings.node.data_dir
        yield "disk", f"{size(used)} in segments, {size(free)} free of {size(total)}"
        yield "buffers waiting for the disk", size(context.memory.taken_bytes)
        yield "longest pass of the event loop", f"{view.lag.max_us / 1000:.1f} ms"
        yield "tasks", str(view.tasks())
        if (scrubber := view.scrubber) is not None:
            yield "scrubbed", f"{size(scrubber.read_bytes)}, {scrubber.passes} passes"
        yield "security", view.settings.security.mode.value


def topic_row(name: str, hosted: tuple[HostedPartition, ...], rates: Rates | None) -> TopicRow:
    """Return the row of a topic."""
    topic = hosted[0].topic
    records = sum(one.high_watermark - one.log_start for one in hosted)
    retention = topic.settings.retention_ms
    return TopicRow(
        name=name,
        partitions=len(hosted),
        records=f"{records:,}",
        rate="-" if rates is None else f"{rates.per_second.get(name, 0):,.1f}",
        size=size(sum(one.log.size_bytes for one in hosted)),
        flush=topic.settings.flush.value,
        retention="none" if retention < 0 else duration(retention),
        internal=topic.internal,
    )


def partition_row(one: HostedPartition) -> PartitionRow:
    """Return the row of a partition."""
    leader = one.topic.partitions[one.number].leader
    return PartitionRow(
        topic=one.topic.name,
        number=one.number,
        log_start=f"{one.log_start:,}",
        high_watermark=f"{one.high_watermark:,}",
        log_end=f"{one.log.log_end:,}",
        not_flushed=f"{one.log.log_end - one.log.flushed_end:,}",
        leader="-" if leader is None else str(leader),
        epoch=one.leader_epoch,
        size=size(one.log.size_bytes),
    )


def size(amount: float) -> str:
    """Return a size in the unit in which it has one to four digits."""
    unit = 0
    while amount >= 1024 and unit + 1 < len(_SIZES):
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {_SIZES[unit]}" if not unit else f"{amount:.1f} {_SIZES[unit]}"


def duration(ms: int) -> str:
    """Return a duration in its two largest units."""
    if ms < 60_000:
        return f"{ms / 1000:.0f} s" if ms >= 10_000 else f"{ms / 1000:.1f} s"
    minutes, hours, days = ms // 60_000, ms // 3_600_000, ms // 86_400_000
    if days:
        return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"

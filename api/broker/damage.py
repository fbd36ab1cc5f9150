"""What is known to be damaged on this node's disk: told once to the log, shown until it is gone.

Whoever finds damage, a reader, a search, the scrub, leaves it on the segment; here it is collected,
told with the name of its topic, and kept for the metrics, the status page, the probes and
GetCluster. Places of segments that retention or a deletion has removed are dropped.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partitions import Partitions
from logstore.paths import PARTITIONS
from logstore.recovery_report import Finding
from logstore.segment import Segment
from model.errors import ErrorCode, RequestError
from model.ids import NodeId

PLACES_MAX: Final = 1_000
"""Kept; a disk that loses more than that is not understood by looking at places."""


class Note(Protocol):
    """Writes a line of the node's log."""

    def __call__(self, event: str, /, **fields: str | int) -> None:
        """Write one event of the closed list with its fields."""
        ...


class Mending(Protocol):
    """Whoever repairs what is damaged here from other nodes."""

    def found(self, hosted: HostedPartition, segment: Segment, /) -> None:
        """Repair a segment, unless that is under way."""
        ...

    def lacking(self, hosted: HostedPartition, why: str, /) -> None:
        """Tell that this node lacks the state of a partition of an internal topic."""
        ...

    def let_lead(self, hosted: HostedPartition, others: Sequence[NodeId], /) -> None:
        """Have one of these replicas lead a partition whose state this node lacks."""
        ...

    def tell(
        self,
        *,
        collect: Callable[[HostedPartition], None],
        mended: Callable[[HostedPartition, Segment], None],
        gone: Callable[[HostedPartition, Segment], None],
    ) -> None:
        """Call `collect` where a segment may be damaged, `mended` where one is whole again.

        `gone` where nothing is left of one: another one may have its name.
        """
        ...


class Place(NamedTuple):
    """A damaged place, and whose it is."""

    partition: str
    """Topic and number as people write them; empty for what belongs to no partition."""
    finding: Finding

    def __str__(self) -> str:
        """Return a line for people."""
        return f"{self.partition}: {self.finding}" if self.partition else str(self.finding)


class Damage:
    """The damaged places of one node. Loop only."""

    def __init__(self, partitions: Partitions, note: Note) -> None:
        """Look after the partitions of this node; nothing is known yet."""
        self._partitions = partitions
        self._note = note
        self._mend: Callable[[HostedPartition, Segment], None] = _nobody
        self._places: dict[tuple[str, int], Place] = {}
        self.found = 0
        """Places that were ever told; only grows."""
        self.healed = 0
        """Segments that are whole again; only grows."""

    @property
    def places(self) -> tuple[Place, ...]:
        """Every damaged place that is still there, in the order in which they were found."""
        return tuple(self._places.values())

    def mend_by(self, mending: Mending) -> None:
        """Have damage repaired from other nodes, where there are any."""
        self._mend = mending.found
        mending.tell(collect=self.collect, mended=self.mended, gone=self.gone)

    def recovered(self, findings: Iterable[Finding]) -> None:
        """Take over what the start has found and told already; partitions are hosted by now.

        What a follower has dropped already is not damaged any more.
        """
        findings = list(findings)
        segments = self._segments() if findings else {}
        for finding in findings:
            whose = segments.get(finding.file)
            if whose is None and not finding.file.startswith(f"{PARTITIONS}/"):
                self._keep(Place("", finding))
            elif whose is not None:
                partition, segment = whose
                self._keep(Place(f"{partition.topic.name}/{partition.number}", finding))
                self._mend(partition, segment)

    def collect(self, partition: HostedPartition) -> None:
        """Tell what was found in a partition since the last look, and have it repaired."""
        for segment in partition.log.segment_list:
            if segment.damage:
                findings, segment.damage = segment.damage, ()
                for finding in findings:
                    self._tell(partition, finding)
                self._mend(partition, segment)

    def refusal(self, partition: HostedPartition, error: RequestError) -> RequestError:
        """Return what a reader is told who has met damage: final only if nobody else has it."""
        if error.code is not ErrorCode.CORRUPT_LOG:
            return error
        self.collect(partition)
        if not partition.mending:
            return error
        where = f"{partition.topic.name}/{partition.number}"
        return RequestError(
            ErrorCode.OFFSET_NOT_AVAILABLE,
            f"{where}: what is stored there is damaged on this node, and is being fetched from "
            "another replica; ask again",
            topic=partition.topic.name,
            partition=str(partition.number),
        )

    def mended(self, partition: HostedPartition, segment: Segment) -> None:
        """Drop the places of a segment that is whole again."""
        self.healed += 1
        self.gone(partition, segment)

    def gone(self, partition: HostedPartition, segment: Segment) -> None:
        """Drop the places of a segment of which nothing is left."""
        del partition
        gone = {segment.log_name, segment.times_name}
        self._places = {
            key: place for key, place in self._places.items() if place.finding.file not in gone
        }

    def forget_removed(self) -> None:
        """Drop places in files that are gone."""
        if not self._places:
            return
        there = self._segments()
        self._places = {
            key: place
            for key, place in self._places.items()
            if place.finding.file in there or not place.finding.file.startswith(f"{PARTITIONS}/")
        }

    def _segments(self) -> dict[str, tuple[HostedPartition, Segment]]:
        """Return whose each file is."""
        return {
            name: (partition, segment)
            for partition in self._partitions
            for segment in partition.log.segment_list
            for name in (segment.log_name, segment.times_name)
        }

    def _tell(self, partition: HostedPartition, finding: Finding) -> None:
        name = partition.topic.name
        if self._keep(Place(f"{name}/{partition.number}", finding)):
            self._note(
                "log_corrupt",
                topic=name,
                partition=partition.number,
                file=finding.file,
                position=finding.position,
                size_bytes=finding.size_bytes,
                why=finding.why,
            )

    def _keep(self, place: Place) -> bool:
        """Keep a place; tell whether it is new."""
        key = place.finding.file, place.finding.position
        if key in self._places or len(self._places) >= PLACES_MAX:
            return False
        self._places[key] = place
        self.found += 1
        return True


def _nobody(partition: HostedPartition, segment: Segment) -> None:
    """There is no other node."""

"""Settings of consumer groups: what holds where neither a group nor its members say otherwise."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

from model.limits import (
    MEMBERS_PER_GROUP_MAX,
    OFFSET_METADATA_BYTES_MAX,
    REBALANCE_TIMEOUT_MS_MAX,
    REBALANCE_TIMEOUT_MS_MIN,
    RESUME_TIMEOUT_MS_MAX,
    SESSION_TIMEOUT_MS_MAX,
    SESSION_TIMEOUT_MS_MIN,
)
from model.settings import Setting, Unit, check_bounds

SECOND: Final = 1_000
DAY: Final = 86_400 * SECOND
YEAR: Final = 365 * DAY


class AssignorName(Enum):
    """Who distributes the partitions of a group."""

    UNIFORM = "uniform"
    """As even as can be, and as little moved as can be."""
    RANGE = "range"
    """The same numbers of every topic to the same member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How this node coordinates consumer groups."""

    session_timeout_ms: Annotated[
        int,
        Setting(
            "A member that is silent on an unbroken stream for so long is removed.",
            Unit.MILLISECONDS,
            SESSION_TIMEOUT_MS_MIN.value,
            SESSION_TIMEOUT_MS_MAX.value,
            kafka_name="group.consumer.session.timeout.ms",
        ),
    ] = 8 * SECOND
    rebalance_timeout_ms: Annotated[
        int,
        Setting(
            "A member has so long to hand a partition over before it is taken.",
            Unit.MILLISECONDS,
            REBALANCE_TIMEOUT_MS_MIN.value,
            REBALANCE_TIMEOUT_MS_MAX.value,
        ),
    ] = 60 * SECOND
    resume_timeout_ms: Annotated[
        int,
        Setting(
            "A member whose stream broke can come back for so long without a rebalance.",
            Unit.MILLISECONDS,
            0,
            RESUME_TIMEOUT_MS_MAX.value,
        ),
    ] = 2 * SECOND
    members_max: Annotated[
        int,
        Setting(
            "Members of one group; more are refused.",
            Unit.COUNT,
            1,
            MEMBERS_PER_GROUP_MAX.value,
            kafka_name="group.consumer.max.size",
        ),
    ] = MEMBERS_PER_GROUP_MAX.value
    offset_metadata_bytes_max: Annotated[
        int,
        Setting(
            "Text beside a committed offset; longer ones are refused.",
            Unit.BYTES,
            0,
            OFFSET_METADATA_BYTES_MAX.value,
            kafka_name="offset.metadata.max.bytes",
        ),
    ] = OFFSET_METADATA_BYTES_MAX.value
    offsets_retention_ms: Annotated[
        int,
        Setting(
            "A group without members keeps its offsets for so long after its last sign of life.",
            Unit.MILLISECONDS,
            SECOND,
            100 * YEAR,
        ),
    ] = 7 * DAY
    assignor: Annotated[AssignorName, Setting("Who distributes the partitions of a new group.")] = (
        AssignorName.UNIFORM
    )

    def __post_init__(self) -> None:
        """Refuse out-of-range values at the door."""
        check_bounds(self)

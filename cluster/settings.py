"""Settings of the controller quorum and of replication."""

from dataclasses import dataclass
from typing import Annotated, Final

from model.settings import Setting, Unit, check_bounds

KIB: Final = 1 << 10
MIB: Final = 1 << 20
SECOND: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """How this node keeps the cluster's metadata and judges its followers."""

    quorum_file_bytes: Annotated[
        int,
        Setting("A file of the metadata log is closed at this size.", Unit.BYTES, KIB, 256 * MIB),
    ] = 8 * MIB
    quorum_snapshot_entries: Annotated[
        int,
        Setting("Snapshot the metadata after so many log entries.", Unit.COUNT, 1, 1_000_000),
    ] = 10_000
    quorum_proposals_max: Annotated[
        int,
        Setting(
            "Changes of metadata that may wait at once; more are refused as OVERLOADED.",
            Unit.COUNT,
            1,
            100_000,
        ),
    ] = 1_000
    state_snapshot_records: Annotated[
        int,
        Setting(
            "Snapshot the state of an internal partition after half as many records as the last "
            "snapshot holds, but not after fewer than these.",
            Unit.COUNT,
            1,
            10_000_000,
        ),
    ] = 1_000
    replica_lag_ms_max: Annotated[
        int,
        Setting(
            "A follower that has not caught up for longer leaves the ISR.",
            Unit.MILLISECONDS,
            10,
            600 * SECOND,
            kafka_name="replica.lag.time.max.ms",
        ),
    ] = 2_500

    def __post_init__(self) -> None:
        """Refuse out-of-range values at the door."""
        check_bounds(self)

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
    quorum_snapshot_bytes: Annotated[
        int,
        Setting(
            "Snapshot the metadata after so many bytes of log entries.", Unit.BYTES, KIB, 256 * MIB
        ),
    ] = 32 * MIB
    quorum_election_ticks: Annotated[
        int,
        Setting(
            "Controllers elect another leader after so much silence, in ticks of 100 ms; every "
            "controller of a cluster has the same.",
            Unit.COUNT,
            3,
            600,
        ),
    ] = 8
    quorum_proposals_max: Annotated[
        int,
        Setting(
            "Changes of metadata that may wait at once; more are refused as OVERLOADED.",
            Unit.COUNT,
            1,
            100_000,
        ),
    ] = 1_000
    broker_heartbeat_ms: Annotated[
        int,
        Setting(
            "A node tells the controller so often that it is there.",
            Unit.MILLISECONDS,
            10,
            60 * SECOND,
            kafka_name="broker.heartbeat.interval.ms",
        ),
    ] = 400
    broker_session_ms: Annotated[
        int,
        Setting(
            "A node that the controller has not heard for so long is taken for dead: others lead "
            "its partitions.",
            Unit.MILLISECONDS,
            50,
            600 * SECOND,
            kafka_name="broker.session.timeout.ms",
        ),
    ] = 2_500
    broker_refused_ms: Annotated[
        int,
        Setting(
            "A node where nobody listens is taken for dead after so long: its process has ended, "
            "so there is no need to wait for the session.",
            Unit.MILLISECONDS,
            10,
            600 * SECOND,
        ),
    ] = 300
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
        """Refuse out-of-range values at the door, and a session that no heartbeat can keep."""
        check_bounds(self)
        if self.broker_session_ms < 2 * self.broker_heartbeat_ms:
            raise ValueError(
                f"broker_session_ms is {self.broker_session_ms}: at least twice "
                f"broker_heartbeat_ms, which is {self.broker_heartbeat_ms}, or one heartbeat that "
                "is late ends a session"
            )

"""Settings of the Kafka listener."""

from dataclasses import dataclass
from typing import Annotated, Final

from model.limits import (
    CONNECTION_BUFFER_BYTES_MAX,
    CONNECTION_IDLE_MS_MAX,
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS_MAX,
    KIB,
    MIB,
    MINUTE,
    REQUEST_BYTES_MAX,
    REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX,
    SECOND,
)
from model.settings import Setting, Unit, check_bounds

SMALL_REQUEST_BYTES_MAX: Final = MIB
"""Longest request that carries no records: room for every partition of a cluster by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """What one Kafka listener accepts and holds."""

    request_bytes_max: Annotated[
        int,
        Setting("Refuse longer requests on their length prefix.", Unit.BYTES, KIB, 100 * MIB),
    ] = REQUEST_BYTES_MAX.value
    fetch_bytes_max: Annotated[
        int,
        Setting("Most bytes of one Fetch answer, whatever is asked.", Unit.BYTES, KIB, 100 * MIB),
    ] = 16 * MIB
    read_buffer_bytes: Annotated[
        int,
        Setting("Read buffer of a quiet connection.", Unit.BYTES, 64, MIB),
    ] = 32 * KIB
    connection_buffer_bytes_max: Annotated[
        int,
        Setting(
            "Read nothing more from a client that leaves more answers unread.",
            Unit.BYTES,
            64,
            64 * MIB,
        ),
    ] = CONNECTION_BUFFER_BYTES_MAX.value
    requests_in_flight_max: Annotated[
        int,
        Setting("Requests of one connection that may await answers.", Unit.COUNT, 1, 10_000),
    ] = REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX.value
    connections_max: Annotated[
        int, Setting("Connections of all clients.", Unit.COUNT, 1, 100_000)
    ] = CONNECTIONS_MAX.value
    connections_per_address_max: Annotated[
        int, Setting("Connections from one address.", Unit.COUNT, 1, 100_000)
    ] = CONNECTIONS_PER_ADDRESS_MAX.value
    idle_ms_max: Annotated[
        int,
        Setting("Close a connection without a request for so long.", Unit.MILLISECONDS, 1, 2**31),
    ] = CONNECTION_IDLE_MS_MAX.value
    stalled_ms_max: Annotated[
        int,
        Setting(
            "Close a connection that stands still within a request or an answer for so long.",
            Unit.MILLISECONDS,
            1,
            60 * MINUTE,
        ),
    ] = MINUTE

    def __post_init__(self) -> None:
        """Refuse out-of-range values at the door."""
        check_bounds(self)


SWEEP_MS: Final = SECOND
"""How often connections are looked at for silence and stalls."""

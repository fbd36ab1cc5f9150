"""How a producer sends, checked once."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from tidelog.arguments import span_of
from tidelog.types import Compression
from tidelog.v1 import log_service_pb2 as log

Acks: TypeAlias = Literal["all", "leader", "none"]
Timestamps: TypeAlias = Literal["floor", "strict"]

ACKS: Final = {"all": log.ACKS_ALL, "leader": log.ACKS_LEADER, "none": log.ACKS_NONE}
BATCH_BYTES: Final = 512 << 10
BATCH_BYTES_MAX: Final = 3 << 20
"""No topic takes more in one batch."""
BUFFER_BYTES: Final = 32 << 20
LINGER: Final = timedelta(milliseconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings:
    """How a producer sends."""

    acks: Acks = "all"
    idempotent: bool | None = None
    """None: with acks="all"."""
    linger: timedelta = LINGER
    batch_bytes: int = BATCH_BYTES
    compression: Compression | None = None
    """Of batches that the client makes; None: it sends plain records."""
    buffer_bytes: int = BUFFER_BYTES
    timestamps: Timestamps = "floor"

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: naming the setting and what it may be.
            TypeError: a linger that is no timedelta.
        """
        if self.acks not in ACKS:
            raise ValueError(f'acks is {self.acks!r}; there are "all", "leader" and "none"')
        if self.idempotent and self.acks != "all":
            raise ValueError(f'idempotent=True needs acks="all", not {self.acks!r}')
        if self.timestamps not in {"floor", "strict"}:
            raise ValueError(f'timestamps is {self.timestamps!r}; there are "floor" and "strict"')
        if span_of("linger", self.linger) < timedelta(0):
            raise ValueError(f"linger is {self.linger}, it cannot be negative")
        if not 1 <= self.batch_bytes <= BATCH_BYTES_MAX:
            raise ValueError(
                f"batch_bytes is {self.batch_bytes}; it goes from 1 to {BATCH_BYTES_MAX}"
            )
        if self.buffer_bytes < self.batch_bytes:
            raise ValueError(
                f"max_in_flight_bytes is {self.buffer_bytes}, less than one batch "
                f"({self.batch_bytes})"
            )

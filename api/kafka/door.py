"""The Kafka listener as one of the node's doors."""

from api.door import Address, DoorTaken
from api.kafka.connection import Door as Shared
from api.kafka.listener import KafkaListener
from model.ports import Clock

NAME = "kafka"
GRACE_MS = 3_000
"""What clients have to read the answers that are due when the node stops, ms."""


class KafkaDoor:
    """An `api.door.Door`. Loop only."""

    def __init__(
        self,
        shared: Shared,
        bind: Address,
        *,
        advertise: Address | None,
        clock: Clock,
        descriptors_max: int,
    ) -> None:
        """`advertise`: what clients are told; None: where the listener really is."""
        self._shared = shared
        self._bind = bind
        self._advertise = advertise
        self._listener = KafkaListener(shared, clock=clock, descriptors_max=descriptors_max)

    @property
    def name(self) -> str:
        """What the banner and the ports file call it."""
        return NAME

    async def start(self) -> Address:
        """Bind and serve; clients are told where from then on.

        Raises:
            DoorTaken: the address cannot be had.
        """
        try:
            address = Address(*self._listener.listen(*self._bind))
        except OSError as error:
            raise DoorTaken(NAME, self._bind, error.strerror or str(error)) from error
        told = self._advertise or address
        self._shared.broker.advertise(self._shared.name, *told)
        return address

    async def drain(self) -> None:
        """Nothing to do: requests end by themselves, within their own time."""

    async def stop(self) -> None:
        """Accept no more, send the answers that are due, hang up."""
        await self._listener.stop(grace_ms=GRACE_MS)

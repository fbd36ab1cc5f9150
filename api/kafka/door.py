"""The Kafka listener as one of the node's doors."""

from dataclasses import dataclass

from api.addresses import reached_by
from api.crowd import Crowd
from api.door import Address, DoorTaken
from api.kafka.connection import Door as Shared
from api.kafka.listener import KafkaListener
from model.ports import Clock

GRACE_MS = 3_000
"""What clients have to read the answers that are due when the node stops, ms."""


@dataclass(frozen=True, slots=True)
class Told:
    """What clients of a listener are told of where it is."""

    machine: str
    """Name of this host."""
    advertise: Address | None = None
    """What the settings say."""

    def of(self, bound: Address) -> Address:
        """Return it for a listener that is bound to an address, with the port that it has."""
        if self.advertise is not None:
            return self.advertise
        return bound._replace(host=reached_by(bound.host, self.machine))


class KafkaDoor:
    """An `api.door.Door`. Loop only."""

    def __init__(
        self,
        shared: Shared,
        bind: Address,
        *,
        told: Told,
        clock: Clock,
        descriptors_max: int,
        crowd: Crowd | None = None,
    ) -> None:
        """`crowd`: clients of all doors for Kafka of this node; None: there is no other door."""
        self._shared = shared
        self._bind = bind
        self._told = told
        self._listener = KafkaListener(
            shared, clock=clock, descriptors_max=descriptors_max, crowd=crowd
        )

    @property
    def name(self) -> str:
        """What the banner and the ports file call it."""
        return self._shared.name

    async def start(self) -> Address:
        """Bind and serve; clients are told where from then on.

        Raises:
            DoorTaken: the address cannot be had.
        """
        try:
            address = Address(*self._listener.listen(*self._bind))
        except OSError as error:
            raise DoorTaken(self.name, self._bind, error.strerror or str(error)) from error
        self._shared.broker.advertise(self.name, *self._told.of(address))
        return address

    async def drain(self) -> None:
        """Nothing to do: requests end by themselves, within their own time."""

    async def stop(self) -> None:
        """Accept no more, send the answers that are due, hang up."""
        await self._listener.stop(grace_ms=GRACE_MS)

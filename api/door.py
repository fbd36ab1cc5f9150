"""What a door is to the node: something that listens, serves the broker, and can be closed."""

from typing import NamedTuple, Protocol


class Address(NamedTuple):
    """Where a door listens: the host it was bound to, and the port it really has."""

    host: str
    port: int

    @property
    def text(self) -> str:
        """As a setting names it: an IPv6 address in brackets, its colons are no port's."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Door(Protocol):
    """A listener for one protocol. Loop only."""

    @property
    def name(self) -> str:
        """`kafka`, `grpc` or `http`: what the banner and the ports file call it."""
        ...

    async def start(self) -> Address:
        """Bind and serve.

        Raises:
            DoorTaken: the address is in use or not ours.
        """
        ...

    async def drain(self) -> None:
        """Accept nothing new; end what never ends by itself, with SHUTTING_DOWN."""
        ...

    async def stop(self) -> None:
        """Close every connection; answers that are ready are sent first."""
        ...


class DoorTaken(Exception):  # noqa: N818 - says what happened
    """A listener's address cannot be had."""

    def __init__(self, door: str, address: Address, why: str) -> None:
        """Name the door, the address, and what the system said."""
        super().__init__(f"{door}: cannot listen on {address.text}: {why}")
        self.door = door
        self.address = address

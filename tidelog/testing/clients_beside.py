"""The clients of a broker inside a test, as its clock looks at them while it is turned."""

from collections.abc import Iterator
from weakref import WeakSet

from tidelog.connection import Connection


class ClientsBeside:
    """Those that `Broker.connect` has made: they have the node's time.

    While a test turns an hour they would send heartbeats all along, but a heartbeat takes a real
    moment to arrive. So the node is told of them: a consumer whose stream is open is heard.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._connections: WeakSet[Connection] = WeakSet()

    def add(self, connection: Connection) -> None:
        """Look at this one too, for as long as somebody else has it."""
        self._connections.add(connection)

    def living(self) -> Iterator[tuple[str, str]]:
        """Yield group and member id of each consumer whose stream is open."""
        for connection in self._connections:
            for consumer in connection.consumers:
                if consumer.is_heard and consumer.member is not None:
                    yield consumer.member

    def killed(self) -> Iterator[tuple[str, str]]:
        """Yield group and member id of each consumer whose client was closed under it."""
        for connection in self._connections:
            for consumer in connection.consumers:
                if connection.closed and consumer.member is not None:
                    yield consumer.member

    async def settle(self) -> bool:
        """Wait until commits are answered; tell whether there were any."""
        waited = False
        for connection in list(self._connections):
            for consumer in list(connection.consumers):
                waited |= await consumer.commits.answered()
        return waited

"""The gRPC door of a node inside a test: on a socket file, so that no port is taken."""

from typing import Final

from grpc import aio

from api.broker.broker import Broker
from api.door import Address, DoorTaken
from api.node.world import World
from api.rpc.server import GrpcDoor
from api.testing.failures import FailingGuard, Failures

LOOPBACK: Final = Address("127.0.0.1", 0)


class TestingDoor(GrpcDoor):
    """The door, with failures in front of it, and an end without farewell. Loop only."""

    __test__ = False  # pytest looks for tests in whatever is called so

    def __init__(
        self, broker: Broker, world: World, *, where: Address | str, failures: Failures
    ) -> None:
        """Serve a broker at an address, or at the path of a socket file."""
        self._path = where if isinstance(where, str) else None
        bind = LOOPBACK if isinstance(where, str) else where
        super().__init__(
            broker, bind, reflection=self._path is None, rand=world.rand, note=world.note
        )
        self._guard = FailingGuard(failures, broker, rand=world.rand, note=world.note)

    async def cut(self) -> None:
        """End every connection at once; calls that are under way get no answer."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    def _listen(self, server: aio.Server) -> Address:
        """Bind; a socket file is advertised to nobody, since others may be elsewhere."""
        if self._path is None:
            return super()._listen(server)
        try:
            server.add_insecure_port(f"unix://{self._path}")
        except RuntimeError as refused:
            raise DoorTaken("grpc", Address(self._path, 0), str(refused)) from refused
        return Address(self._path, 0)

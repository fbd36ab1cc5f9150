"""The HTTP door: bound at once, served as soon as its libraries are loaded.

They take 0.15 s of CPU, which a node spends in a thread once its other doors are open. Whoever
connects earlier waits in the socket's queue. uvicorn's protocol is used without its server, whose
loop wakes ten times a second: here an idle node is not woken at all.
"""

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

from api.addresses import split_address
from api.door import Address, DoorTaken
from api.http.view import NodeView
from api.settings import HttpListener

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

BACKLOG: Final = 100
STOP_S_MAX: Final = 2


class HttpDoor:
    """The listener. Loop only."""

    name: Final = "http"

    def __init__(self, settings: HttpListener, view: NodeView) -> None:
        """Show `view` at the address of the settings, which is not none."""
        assert settings.bind is not None, "HTTP_DOOR_HAS_ADDRESS"
        self._host, self._port = split_address(settings.bind)
        self._settings = settings
        self._view = view
        self._socket: socket.socket | None = None
        self._loaded = asyncio.Event()
        self._state: ServerState | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> Address:
        """Bind, and begin to load what serves.

        Raises:
            DoorTaken: the address is in use or not ours.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server(
                (self._host, self._port), family=family, backlog=BACKLOG
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise DoorTaken(self.name, Address(self._host, self._port), why) from error
        self._view.broker.context.spawn.start(self._serve(self._socket), "http pages")
        host, port = self._socket.getsockname()[:2]
        return Address(str(host), int(port))

    async def _serve(self, listening: socket.socket) -> None:
        load = partial(_load, self._view)
        try:
            config, state = await self._view.broker.context.in_thread(load)
            from api.http.app import Gate, HttpConnection  # noqa: PLC0415 - `_load` has loaded it

            gate = Gate(
                self._view,
                connections_max=self._settings.connections_max,
                per_address_max=self._settings.connections_per_address_max,
            )
            self._state = state
            self._server = await asyncio.get_running_loop().create_server(
                lambda: HttpConnection(config, state, gate), sock=listening
            )
        finally:
            self._loaded.set()

    async def drain(self) -> None:
        """Go on, and tell probes that the node is stopping: nobody new shall come."""
        self._view.health.stopping()

    async def stop(self) -> None:
        """Accept no more, finish the answers under way, hang up."""
        if self._socket is None:
            return
        await self._loaded.wait()
        if self._server is None or self._state is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=STOP_S_MAX)
        for connection in list(self._state.connections):
            connection.transport.abort()


def _load(view: NodeView) -> "tuple[Config, ServerState]":
    """Load the application and what it stands on. Runs in a thread."""
    from uvicorn.server import ServerState  # noqa: PLC0415 - see the head of the module

    from api.http.app import configured  # noqa: PLC0415

    return configured(view), ServerState()

"""Reaching other nodes: an address in, a connection or the reason why not out.

Who dials when, and for how long, is decided elsewhere; here is only how. A name is looked up for
every attempt, since a node that was moved has another address under the same name. A resolver that
does not answer holds one thread for each name, not one for each attempt.

`ConnectionRefusedError` means that every address of the name refused: no process listens there.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from model.ports import Spawn

Found: TypeAlias = list[tuple[socket.AddressFamily, Any]]
"""Where a name leads: families and what `connect` takes, in the resolver's order."""
Failed: TypeAlias = Callable[[OSError], None]


class Address(NamedTuple):
    """Where a node listens for other nodes."""

    host: str
    """A name or an IP address."""
    port: int

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Network(Protocol):
    """The way to other nodes."""

    def dial(
        self, address: Address, protocol: asyncio.BaseProtocol, failed: Failed
    ) -> Callable[[], None]:
        """Connect `protocol`, or call `failed` once; neither before this has returned.

        Returns:
            What gives the attempt up: `failed` is not called then. A connection that stands
            already stays.
        """
        ...


class SocketNetwork:
    """`Network` over TCP."""

    def __init__(self, spawn: Spawn) -> None:
        """Each attempt is a task of `spawn`."""
        self._spawn = spawn
        self._lookups: dict[Address, asyncio.Future[Found]] = {}

    def dial(
        self, address: Address, protocol: asyncio.BaseProtocol, failed: Failed
    ) -> Callable[[], None]:
        """Begin an attempt; see `Network`."""
        attempt = _Attempt(partial(self._found, address))
        self._spawn.start(attempt.run(protocol, failed), f"dial {address}")
        return attempt.give_up

    async def _found(self, address: Address) -> Found:
        """Return where an address leads; attempts that overlap share one look-up.

        Raises:
            OSError: the name leads nowhere.
        """
        numeric = _numeric(address)
        if numeric is not None:
            return [numeric]
        lookup = self._lookups.get(address)
        if lookup is None:
            lookup = asyncio.get_running_loop().run_in_executor(None, _look_up, address)
            self._lookups[address] = lookup
            lookup.add_done_callback(partial(self._looked_up, address))
        return await asyncio.shield(lookup)

    def _looked_up(self, address: Address, lookup: asyncio.Future[Found]) -> None:
        del self._lookups[address]
        if not lookup.cancelled():
            lookup.exception()  # whoever asked may have given up: nobody else would look at it


class _Attempt:
    """One attempt to connect."""

    __slots__ = ("_find", "_given_up", "_task")

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        self._given_up = False
        self._task: asyncio.Task[Any] | None = None

    def give_up(self) -> None:
        self._given_up = True
        if self._task is not None:
            self._task.cancel()

    async def run(self, protocol: asyncio.BaseProtocol, failed: Failed) -> None:
        if self._given_up:
            return
        self._task = asyncio.current_task()
        try:
            connection = await _connected(await self._find())
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: protocol, sock=connection)
        except OSError as error:
            if not self._given_up:
                failed(error)
        finally:
            self._task = None


async def _connected(found: Found) -> socket.socket:
    """Return a connection to the first of these addresses that takes one.

    Raises:
        OSError: none does; ConnectionRefusedError only if all refuse.
    """
    said: list[OSError] = []
    for family, where in found:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)  # noqa: FBT003 - the socket's own spelling
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connection, where)
        except OSError as error:
            connection.close()
            said.append(error)
        except BaseException:  # given up
            connection.close()
            raise
        else:
            return connection
    raise next((one for one in said if not isinstance(one, ConnectionRefusedError)), said[-1])


_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


def _numeric(address: Address) -> tuple[socket.AddressFamily, Any] | None:
    """Return where an IP address leads; None for a name."""
    try:
        return _FAMILIES[ip_address(address.host).version], tuple(address)
    except ValueError:
        return None


def _look_up(address: Address) -> Found:
    """Ask the resolver. Blocks.

    Raises:
        OSError: the name leads nowhere.
    """
    rows = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    return [(family, where) for family, _, _, _, where in rows]

"""Accepting connections: a loop that survives running out of file descriptors (P59).

The event loop's own server reports a failed `accept` as a bug and looks away for a second. This
one keeps a descriptor in reserve: when there is no other, it is given up for the moment it takes to
accept the waiting client and hang up on it, so that clients are told at once instead of hanging in
the backlog, and the listening socket does not stay readable for ever.
"""

import asyncio
import socket
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Final, Protocol

from model.ports import Spawn

BACKLOG: Final = 512
ACCEPTED_AT_ONCE_MAX: Final = 64
"""Per wake-up: established clients get their turn between two floods of new ones."""
EXHAUSTED: Final = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})


class Gate(Protocol):
    """Whoever decides about new connections."""

    def admit(self, host: str, descriptor: int) -> asyncio.BaseProtocol | None:
        """Return what is to speak to a client, or None to hang up.

        `descriptor`: the connection's number. Numbers are given out from below, so all lower ones
        are in use: it tells how close the process is to its limit.
        """
        ...

    def exhausted(self) -> None:
        """A client was turned away because no descriptor or memory was left."""
        ...


class Acceptor:
    """Accepts on one listening socket. Loop only."""

    def __init__(self, listening: socket.socket, gate: Gate, spawn: Spawn) -> None:
        """Take over a bound socket and begin to listen."""
        self._listening = listening
        self._gate = gate
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        listening.settimeout(0)
        listening.listen(BACKLOG)
        self._reserve: socket.socket | None = listening.dup()
        self._loop.add_reader(listening.fileno(), self._accept)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the port that was found if 0 was asked for."""
        host, port = self._listening.getsockname()[:2]
        return str(host), int(port)

    def close(self) -> None:
        """Accept no more. What was accepted goes on."""
        self._loop.remove_reader(self._listening.fileno())
        self._listening.close()
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None

    def _accept(self) -> None:
        """Take the clients that are waiting."""
        for _ in range(ACCEPTED_AT_ONCE_MAX):
            try:
                connection, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    # It says so before it looks for a client: there may be none any more.
                    self._turn_away()
                    return
                continue  # this one client has gone already (ECONNABORTED and its kin)
            self._admit(connection, str(peer[0]))

    def _admit(self, connection: socket.socket, host: str) -> None:
        protocol = self._gate.admit(host, connection.fileno())
        if protocol is None:
            connection.close()
            return
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._spawn.start(self._hand_over(connection, protocol), "accept")

    async def _hand_over(self, connection: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        """Give the socket to the event loop."""
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, connection)
        except OSError as error:  # it went away meanwhile
            connection.close()
            protocol.connection_lost(error)

    def _turn_away(self) -> None:
        """Hang up on one client with the descriptor that was kept for it."""
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None
        with suppress(OSError):
            self._listening.accept()[0].close()
            self._gate.exhausted()
        with suppress(OSError):
            self._reserve = self._listening.dup()


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to one address.

    Raises:
        OSError: the address is in use, not ours, or not an address.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening

"""What the kernel does for a link: it sees to acknowledgements, and takes little ahead of them."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from cluster.shell.peer_silence import SILENT_MS

UNSENT_BYTES: Final = 128 << 10
"""Of what the network does not carry yet. What it carries is not bounded: the rate stays."""


def bound_unsent(transport: asyncio.BaseTransport | None) -> None:
    """Let the kernel hold little that has not left: what is urgent later stands behind that."""
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):  # it is gone already, as `closed` will say
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def bound_acknowledgements(transport: asyncio.BaseTransport | None) -> None:
    """Let the kernel end a link when what was sent stays unacknowledged (RFC 5482)."""
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):  # it is gone already, as `closed` will say
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS)

"""What the kernel watches over a link: that what was sent is acknowledged."""

import asyncio
import socket
from contextlib import suppress

from cluster.shell.peer_silence import SILENT_MS


def bound_acknowledgements(transport: asyncio.BaseTransport | None) -> None:
    """Let the kernel end a link when what was sent stays unacknowledged (RFC 5482)."""
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):  # it is gone already, as `closed` will say
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS)

"""The machine's name, by which others may find it, and where names lead."""

import asyncio
import socket


def machine_name() -> str:
    """Return the host name as the system has it."""
    return socket.gethostname()


async def looked_up(name: str) -> str | None:
    """Return why a name leads to no address from here; None: it leads to one."""
    try:
        await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # no such name, or none that could be one
        return f"the name leads nowhere: {getattr(error, 'strerror', None) or error}"
    return None

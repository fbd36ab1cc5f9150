"""The machine's name, by which others may find it."""

import socket


def machine_name() -> str:
    """Return the host name as the system has it."""
    return socket.gethostname()

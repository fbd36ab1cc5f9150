"""Whether a port can be had, asked of the system before gRPC is: it tells why not, gRPC does not.

gRPC's own refusal names no cause, and its library writes lines of its own to stderr beside it.
The port is only bound: were it listened on, a client that connects just then would be let in, and
cut off. Linux refuses to bind where somebody listens, with SO_REUSEADDR as well (socket(7)).
"""

import socket


def why_taken(host: str, port: int) -> str | None:
    """Return what the system says against listening there; None: nothing, as far as it can be seen.

    gRPC needs one of the addresses of a name, so one that can be had is enough.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as unknown:
        return unknown.strerror or str(unknown)
    refusals = [_refusal(family, where) for family, _, _, _, where in found]
    return None if None in refusals else refusals[0]


def _refusal(family: int, where: tuple[object, ...]) -> str | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC binds
            probe.bind(where)
    except OSError as error:
        return error.strerror or str(error)
    return None

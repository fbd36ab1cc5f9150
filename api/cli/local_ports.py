"""Where the nodes of `tidelog local` listen: at the ports of compose.yaml, or at any free ones."""

import socket
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Final

from api.node.system_rand import SystemRand
from tidelog.cli.failure import CommandFailed, Exit

HOST: Final = "127.0.0.1"
NODES_MAX: Final = 9
FIXED_NODES_MAX: Final = 5
"""The ports of a sixth node would lie beyond 65535."""
NODE_STEP: Final = 10_000
HTTP_FIRST: Final = 8_080
ANY: Final = range(20_000, 32_000)
"""Below the ports that Linux gives to clients (ip_local_port_range begins at 32768): none of them
can take the place of a node that is stopped."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The four ports of a node."""

    kafka: int
    peer: int
    grpc: int
    http: int

    def address(self, door: str) -> str:
        """Return HOST:PORT of one of them."""
        return f"{HOST}:{self.by_name[door]}"

    @property
    def by_name(self) -> Mapping[str, int]:
        """Return each port by the name of its listener."""
        return dict(zip((one.name for one in fields(self)), astuple(self), strict=True))


def fixed(number: int) -> Ports:
    """Return the ports of node 1 to 5, as the containers of compose.yaml show them."""
    base = number * NODE_STEP
    return Ports(base + 9_092, base + 9_093, base + 9_095, HTTP_FIRST + number - 1)


def any_free(taken: Iterable[int]) -> Ports:
    """Return four ports at which nobody listens, other than those that are `taken`.

    Raises:
        CommandFailed: there are none; exit 10, as a node itself would end.
    """
    used = set(taken)
    found: list[int] = []
    first = SystemRand().randrange(len(ANY))
    for place in range(len(ANY)):
        port = ANY[(first + place) % len(ANY)]
        if port not in used and is_free(port):
            found.append(port)
            if len(found) == len(fields(Ports)):
                return Ports(*found)
    raise CommandFailed(
        f"no free ports from {ANY.start} to {ANY.stop - 1} on {HOST}",
        hint="end some of the programs that listen there, or start fewer nodes",
        exit_code=Exit.CONFIGURATION,
    )


def is_free(port: int) -> bool:
    """Tell whether a node could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

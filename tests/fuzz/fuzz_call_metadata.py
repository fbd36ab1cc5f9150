"""Any text as what gRPC tells of a call beside its message: metadata and the peer's address."""

from api.rpc.call import CLIENT_ID, CLUSTER_ID, NO_FORWARD, host_of, read_metadata
from api.rpc.details import trailers
from model.errors import RequestError

CLUSTER = "cluster"
PEER_CHARACTERS = 300
"""gRPC writes it, not the client: an address, or a path in the file system."""


def samples() -> list[bytes]:
    """Return an address, a client's name, a cluster's name and a mark, one a line."""
    lines = (
        "ipv4:10.0.0.7:5000\norders-service\ncluster\n0", "ipv6:%5B::1%5D:5000\n\n\n1",
        "unix:/run/tidelog.sock\nä\nother\n2",
    )  # fmt: skip
    return [line.encode() for line in lines]


def fuzz(data: bytes) -> None:
    """Read the lines; a refusal must fit into trailers."""
    lines = [*data.decode("utf-8", "replace").split("\n"), "", "", ""]
    peer = lines[0][:PEER_CHARACTERS]
    names = (CLIENT_ID, CLUSTER_ID, NO_FORWARD)
    values: dict[str, str | bytes] = dict(zip(names, lines[1:], strict=False))
    try:
        principal = read_metadata(values, peer, CLUSTER)
    except RequestError as refusal:
        trailers(refusal)
        return
    assert principal.host == host_of(peer)

"""Any bytes as a frame of the replica stream, of a repair, or a part of a snapshot."""

from cluster.peer.table import Family
from model.errors import MalformedError
from tests.peer_frames import comparable, of_family, read, write


def samples() -> list[bytes]:
    """Return a frame of every type of replicas."""
    return of_family(Family.REPLICA, Family.STATE, Family.REPAIR)


def fuzz(data: bytes) -> None:
    """Read a frame of whatever family; what was read is what is written and read again."""
    try:
        said = read(data)
    except MalformedError:
        return
    again = write(said)
    assert len(again) == len(data), "not as long as what was read"
    assert again[6:] == data[6:], "not the body that was read"
    assert comparable(read(again)) == comparable(said), "not what was read"

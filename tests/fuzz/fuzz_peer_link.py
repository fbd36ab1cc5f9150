"""Any bytes as the first frames of a link between nodes, on either side and in any turn."""

from cluster.peer.handshake import Handshake
from cluster.peer.hello import Hello, LinkRefused, Side, encode_hello, encode_proof, proof_of
from cluster.peer.table import Family
from model.ids import NodeId
from tests.peer_frames import HELLO, of_family

SECRET = b"secret"
ME = Hello(NodeId(2), bytes(16), bytes(16), bytes(32), "tide")


def samples() -> list[bytes]:
    """Return a frame of every type of a link itself."""
    return of_family(Family.LINK, Family.PING, Family.PART)


def fuzz(data: bytes) -> None:
    """Take the bytes as a first and as a second frame; nobody is let in who has no proof."""
    for side in Side:
        fresh, greeted = (Handshake(ME, SECRET, side=side) for _ in range(2))
        theirs, mine = encode_hello(HELLO), encode_hello(ME)
        greeted.take(theirs)
        for handshake in (fresh, greeted):
            try:
                handshake.take(data)
            except LinkRefused:
                assert handshake.link is None, "refused and let in"
        assert fresh.link is None, "let in by its hello alone"
        other = Side.LISTENS if side is Side.DIALS else Side.DIALS
        dialler, listener = (mine, theirs) if side is Side.DIALS else (theirs, mine)
        proof = proof_of(SECRET, other, dialler=dialler, listener=listener)
        assert (greeted.link is not None) is (data == encode_proof(proof)), "let in without a proof"

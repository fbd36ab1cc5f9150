"""The first four frames of a link, on either side, as a plain object.

    dialler                      listener
    HELLO          ->
                   <-            HELLO       with its own nonce
    PROOF          ->
                   <-            PROOF       only to who has proven itself

    handshake = Handshake(me, secret, side=Side.DIALS, expected=node)
    send(handshake.begin())
    send(handshake.take(frame))  for each frame that comes; `b""`: nothing to send
    handshake.link               set once both are proven: from then on frames mean something

`LinkRefused` from `take` ends the link: unless it is `by_peer`, send `encode_refused` of it, once,
then close. The shell bounds the time until `link` is set (a stranger who says nothing), and the
length of frames until then by `FIRST_FRAME_BYTES_MAX`.

Who dials proves first: a stranger who dials gets no keyed hash to try secrets on. A stranger who
listens where a node dials gets one, so the secret is to be a long random one. An empty one proves
nothing: whoever assembles a node lets it have one only where nobody else can connect (P60).
One object serves one link.

Invariants:
    PEER_NONCE_IS_FRESH   32 bytes that the caller's chance has made for this link.
"""

from typing import Final, NamedTuple

from cluster.peer.hello import (
    NONCE_BYTES,
    Hello,
    LinkRefused,
    Reason,
    Side,
    decode,
    encode_hello,
    encode_proof,
    is_proof,
    proof_of,
)
from cluster.peer.table import HEAD, TABLE, Family, FrameType, UnknownFrameError, Versions, parse
from model.errors import MalformedError
from model.ids import NodeId

FIRST_FRAME_BYTES_MAX: Final = HEAD.size + TABLE[FrameType.LINK_REFUSED].most
"""Nobody who has not proven himself makes a node hold more for a frame (P55)."""
_FIRST_VERSION: Final = 1
"""Hello, proof and refusal are the same in every version: they are read before one is agreed."""


class Link(NamedTuple):
    """Both ends know each other."""

    peer: Hello
    version: int
    """The greatest that both speak."""


class Handshake:
    """See the module."""

    __slots__ = ("_expected", "_hello", "_me", "_peer", "_peer_frame", "_secret", "_side", "link")

    def __init__(
        self, me: Hello, secret: bytes, *, side: Side, expected: NodeId | None = None
    ) -> None:
        """Begin one link. `expected`: whom the dialler calls; None: whoever answers there."""
        assert len(me.nonce) == NONCE_BYTES, "PEER_NONCE_IS_FRESH"
        self._me = me
        self._hello = encode_hello(me)
        self._secret = secret
        self._side = side
        self._expected = expected
        self._peer: Hello | None = None
        self._peer_frame = b""
        self.link: Link | None = None

    def begin(self) -> bytes:
        """Return the first frame to send; a listener waits."""
        return self._hello if self._side is Side.DIALS else b""

    def take(self, frame: bytes | memoryview) -> bytes:
        """Take the next frame; return what to send.

        Raises:
            LinkRefused: the link ends.
        """
        try:
            said = self._read(frame)
        except UnknownFrameError as unknown:
            raise LinkRefused(Reason.UNKNOWN_FRAME, str(unknown)) from unknown
        except MalformedError as malformed:
            raise LinkRefused(Reason.MALFORMED, str(malformed)) from malformed
        if isinstance(said, LinkRefused):
            raise said
        peer = self._peer
        if peer is None and isinstance(said, Hello):
            return self._greeted(said, bytes(frame))
        if peer is not None and isinstance(said, bytes) and self.link is None:
            return self._proven(peer, said)
        turn = "a hello" if peer is None else "a proof" if self.link is None else "the end of it"
        raise LinkRefused(Reason.UNKNOWN_FRAME, f"in the handshake it is the turn of {turn}")

    def _read(self, frame: bytes | memoryview) -> Hello | bytes | LinkRefused:
        read = parse(frame, version=_FIRST_VERSION)
        if read.row.family is not Family.LINK:
            raise UnknownFrameError(read.type.name, 0, "the handshake is not over")
        return decode(read)

    def _greeted(self, peer: Hello, frame: bytes) -> bytes:
        self._check(peer)
        self._peer, self._peer_frame = peer, frame
        return self._hello if self._side is Side.LISTENS else self._own_proof()

    def _proven(self, peer: Hello, proof: bytes) -> bytes:
        other = Side.LISTENS if self._side is Side.DIALS else Side.DIALS
        if not is_proof(proof, self._proof(other)):
            raise LinkRefused(
                Reason.PROOF,
                f"node {peer.node} does not know this cluster's secret: give every node the same "
                "one",
            )
        self.link = Link(peer, agreed(self._me.versions, peer.versions))
        return self._own_proof() if self._side is Side.LISTENS else b""

    def _check(self, peer: Hello) -> None:
        """Refuse whom there is no use in proving anything to."""
        me = self._me
        agreed(me.versions, peer.versions)
        if peer.cluster_id != me.cluster_id:
            raise LinkRefused(
                Reason.CLUSTER,
                f'node {me.node} is of the cluster "{me.cluster_id}", node {peer.node} of '
                f'"{peer.cluster_id}": let each name addresses of its own cluster',
            )
        if self._expected not in {None, peer.node}:
            raise LinkRefused(
                Reason.IDENTITY,
                f"node {peer.node} answers where node {self._expected} was called: correct the "
                "address that one of them advertises",
            )
        if peer.nonce == me.nonce:
            raise LinkRefused(Reason.PROOF, "the nonce is our own: somebody repeats what we say")

    def _own_proof(self) -> bytes:
        return encode_proof(self._proof(self._side))

    def _proof(self, side: Side) -> bytes:
        hellos = (self._hello, self._peer_frame)
        dialler, listener = hellos if self._side is Side.DIALS else hellos[::-1]
        return proof_of(self._secret, side, dialler=dialler, listener=listener)


def agreed(one: Versions, other: Versions) -> int:
    """Return the greatest protocol version that both speak.

    Raises:
        LinkRefused: VERSION, there is none.
    """
    version = min(one.greatest, other.greatest)
    if version < max(one.least, other.least):
        raise LinkRefused(
            Reason.VERSION,
            f"protocol versions {one.least} to {one.greatest} here, {other.least} to "
            f"{other.greatest} there: upgrade one release at a time",
        )
    return version

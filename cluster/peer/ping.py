"""Is there still somebody: asked on a link that has been quiet for a while, answered at once.

Format: docs/formats/peer_frames.md, link. It is the process that answers, not its kernel: so one
that was stopped is told from one that has nothing to say.
"""

from typing import NamedTuple, TypeAlias

from cluster.peer.fields import BodyReader
from cluster.peer.table import Family, Frame, FrameType, packed


class Ping(NamedTuple):
    """Are you there?"""


class Pong(NamedTuple):
    """I am."""


Alive: TypeAlias = Ping | Pong


def encode(said: Alive, *, correlation: int) -> bytes:
    """Return the whole frame."""
    kind = FrameType.PING if isinstance(said, Ping) else FrameType.PONG
    return packed(kind, correlation=correlation)


def decode(frame: Frame) -> Alive:
    """Return what a frame says.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.PING, "PEER_FRAME_FAMILY"
    BodyReader(frame).finish()
    return Ping() if frame.type is FrameType.PING else Pong()

"""A long frame in parts, so that short ones do not wait behind all of it.

Format: docs/formats/peer_frames.md, link. Parts of one frame follow each other, with other whole
frames between them; those of two frames are never mixed.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from cluster.peer.fields import BodyReader
from cluster.peer.table import FRAME_BYTES_MAX, HEAD, Family, Frame, FrameType, head, packed
from model.errors import MalformedError

Buffer = bytes | bytearray | memoryview
PART_BYTES: Final = 256 << 10
"""Of a frame in one part, at most; a frame of no more goes whole. 20 ms at 100 Mbit/s."""
_LEFT: Final = Struct(">I")
PART_HEAD_BYTES: Final = HEAD.size + _LEFT.size
"""Of a frame that carries a part, before the part."""


class Part(NamedTuple):
    """Some bytes of a frame that is longer."""

    left: int
    """Bytes of the frame that come in later parts; 0: it is whole."""
    piece: Buffer


def encode(part: Part) -> bytes:
    """Return the whole frame."""
    return packed(FrameType.PART, _LEFT.pack(part.left), bytes(part.piece))


def decode(frame: Frame) -> Part:
    """Return what a frame carries; its piece lies in the frame's body.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.PART, "PEER_FRAME_FAMILY"
    reader = BodyReader(frame)
    (left,) = reader.unpack(_LEFT)
    whole = left + len(frame.body) - _LEFT.size
    reader.check(whole <= FRAME_BYTES_MAX, f"of a frame of {whole} bytes", back=_LEFT.size)
    return Part(left, reader.rest())


def parts_of(frame: Sequence[Buffer], size: int) -> Iterator[tuple[int, list[Buffer]]]:
    """Yield the frames that carry one of that size: length and pieces of each.

    Nothing is copied.
    """
    pieces: list[Buffer] = []
    taken = 0
    for buffer in frame:
        view = memoryview(buffer)
        while view:
            piece = view[: PART_BYTES - taken]
            view = view[len(piece) :]
            pieces.append(piece)
            taken += len(piece)
            if taken == PART_BYTES:
                size -= taken
                yield _begun(size, taken, pieces)
                pieces, taken = [], 0
    if taken:
        yield _begun(size - taken, taken, pieces)


def _begun(left: int, taken: int, pieces: list[Buffer]) -> tuple[int, list[Buffer]]:
    begin = head(FrameType.PART, _LEFT.size + taken) + _LEFT.pack(left)
    return len(begin) + taken, [begin, *pieces]


class Assembly:
    """The frame whose parts are coming, as far as it has come."""

    __slots__ = ("_expected", "_frame")

    def __init__(self) -> None:
        """Begin with none."""
        self._frame = bytearray()
        self._expected = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of a frame that is not whole."""
        return len(self._frame)

    def take(self, frame: Frame) -> memoryview | None:
        """Return the whole frame with its last part; None: more of it comes.

        Raises:
            MalformedError: no part of this frame, or of a part.
        """
        left, piece = decode(frame)
        whole = len(self._frame) + len(piece) + left
        if self._frame and whole != self._expected:
            why = f"of a frame of {whole} bytes, where one of {self._expected} had begun"
            raise MalformedError("PART", HEAD.size, why)
        if not self._frame and piece[0] == FrameType.PART:
            raise MalformedError("PART", HEAD.size, "of a frame that is a part itself")
        self._frame += piece
        self._expected = whole
        if left:
            return None
        taken, self._frame = self._frame, bytearray()
        return memoryview(taken)

"""Zigzag variable-length integers, as the records of a batch use them.

Format: docs/formats/record_batch.md. Zigzag maps 0, -1, 1, -2 ... to 0, 1, 2, 3 ...; seven bits a
byte follow, the lowest first, with the top bit set on all but the last. A varint holds 32 bits in
at most 5 bytes, a varlong 64 in at most 10; equal numbers have equal bytes in both.
"""

from typing import Final

from model.errors import MalformedError

VARINT_BYTES_MAX: Final = 5
VARLONG_BYTES_MAX: Final = 10


def encode_varint(value: int) -> bytes:
    """Return a number of 32 bits as 1 to 5 bytes.

    Raises:
        OverflowError: it does not fit.
    """
    if not -(1 << 31) <= value < 1 << 31:
        raise OverflowError(f"{value} does not fit into a varint of 32 bits")
    return VARLONGS[value]


def encode_varlong(value: int) -> bytes:
    """Return a number of 64 bits as 1 to 10 bytes.

    Raises:
        OverflowError: it does not fit.
    """
    return VARLONGS[value]


def decode_varint(buffer: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the number of 32 bits at a byte, and the byte after it.

    Raises:
        MalformedError: the buffer ends within it, or it has more than 32 bits.
    """
    unsigned, after = _read(buffer, at)
    if unsigned >> 32 or after - at > VARINT_BYTES_MAX:
        raise MalformedError("varint", at, "more than 32 bits")
    return (unsigned >> 1) ^ -(unsigned & 1), after


def decode_varlong(buffer: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the number of 64 bits at a byte, and the byte after it.

    Raises:
        MalformedError: the buffer ends within it, or it has more than 64 bits.
    """
    unsigned, after = _read(buffer, at)
    return (unsigned >> 1) ^ -(unsigned & 1), after


def read_unsigned(buffer: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the number at a byte before zigzag is undone, and the byte after it.

    A zero in the highest place is let through, as other readers do.

    Raises:
        IndexError: the buffer ends within it.
        MalformedError: it has more than 64 bits.
    """
    start = at
    unsigned = shift = 0
    while (byte := buffer[at]) > 0x7F:
        unsigned |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if shift == 7 * VARLONG_BYTES_MAX:
            raise MalformedError("varint", start, "more than 64 bits")
    unsigned |= byte << shift
    if unsigned >> 64:
        raise MalformedError("varint", start, "more than 64 bits")
    return unsigned, at + 1


def _read(buffer: bytes | memoryview, at: int) -> tuple[int, int]:
    try:
        return read_unsigned(buffer, at)
    except IndexError as end:
        raise MalformedError("varint", at, "the bytes end within it") from end


def _encode(value: int) -> bytes:
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError(f"{value} does not fit into a varlong of 64 bits")
    rest = value << 1 if value >= 0 else ~(value << 1)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


class _Varlongs(dict[int, bytes]):
    """Numbers to their bytes; what is not kept is made when it is asked for, and not kept."""

    def __missing__(self, value: int) -> bytes:
        """Encode a number outside the table."""
        return _encode(value)


VARLONGS: Final = _Varlongs((value, _encode(value)) for value in range(-64, 8192))
"""Looked up by the loops that cannot afford a call: the numbers of one byte, and those of two that
are not negative, which nearly all lengths and deltas are. About 0.8 MiB."""

"""CRC-32C (Castagnoli, RFC 3720 B.4): the one place that names its implementation.

Not wrapped: it is asked once for each batch, and a call of Python's own costs as much as the
checksum of a small one.
"""

from typing import Final, Protocol

from fastcrc import crc32


class Checksum(Protocol):
    """A checksum of bytes."""

    def __call__(self, covered: bytes | bytearray | memoryview, before: int = ..., /) -> int:
        """Return it; `b"123456789"` has 0xE3069283.

        `before`: the checksum of the bytes that come before these, to go on from buffer to buffer.
        """
        ...


crc32c: Final[Checksum] = crc32.iscsi

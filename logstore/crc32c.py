"""CRC-32C (Castagnoli, RFC 3720 B.4): the one place that names its implementation."""

from fastcrc import crc32


def crc32c(covered: bytes | bytearray | memoryview, before: int = 0) -> int:
    """Return the checksum; `b"123456789"` has 0xE3069283.

    `before`: the checksum of the bytes that come before these, to go on from buffer to buffer.
    """
    return crc32.iscsi(covered, before)

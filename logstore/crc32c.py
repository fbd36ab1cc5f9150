"""CRC-32C (Castagnoli, RFC 3720 B.4): the one place that names its implementation.

`crc32c(covered)` returns the checksum; `b"123456789"` has 0xE3069283. A second argument is the
checksum of the bytes that come before these, to go on from buffer to buffer. Not wrapped: it is
asked once for each batch, and a call of Python's own costs as much as the checksum of a small one.
"""

from collections.abc import Callable
from typing import Final

from fastcrc import crc32

crc32c: Final[Callable[..., int]] = crc32.iscsi

"""Checksums made right again, so that damaged content gets past the first check of a parser.

What is on a disk was sealed by us, but a parser must not rest on that: a checksum of 32 bits meets
damage by chance, and a copied directory may come from anyone.
"""

from logstore.crc32c import crc32c


def sealed_at(file: bytes, at: int, *covered: bytes) -> bytes:
    """Return a file with the checksum of some of its parts at a byte; unchanged if too short."""
    if len(file) < at + 4:
        return file
    crc = 0
    for part in covered:
        crc = crc32c(part, crc)
    return file[:at] + crc.to_bytes(4, "big") + file[at + 4 :]


def sealed_at_end(file: bytes) -> bytes:
    """Return a small file with its last four bytes made right."""
    return sealed_at(file, len(file) - 4, file[:-4]) if len(file) >= 4 else file

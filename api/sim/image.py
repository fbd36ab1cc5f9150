"""What a disk holds when nothing is pending: names and bytes, immutable, shared, hashable."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Image:
    """A tree of files. The bytes of a file that did not change are shared between images."""

    files: Mapping[str, bytes]
    directories: tuple[str, ...] = ()
    """Every directory but the root; a parent stands before its children."""

    def digest(self) -> bytes:
        """Return a hash that is the same in every process, whatever PYTHONHASHSEED is."""
        whole = blake2b(digest_size=DIGEST_BYTES)
        for name in sorted(self.directories):
            whole.update(b"\0d" + name.encode())
        for name in sorted(self.files):
            whole.update(b"\0f" + name.encode() + b"\0" + _digest(self.files[name]))
        return whole.digest()


EMPTY: Final = Image({})


@lru_cache(maxsize=8192)
def _digest(content: bytes) -> bytes:
    """Hash one file; images of one crash share most of theirs."""
    return blake2b(content, digest_size=DIGEST_BYTES).digest()

"""Segments read in small pieces, so that logs as small as those of tests cross their edges too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest import mock

from logstore import segment_loader
from model.record import HEADER_BYTES

PIECE_BYTES: Final = 2 * HEADER_BYTES
"""Holds a batch of one short record, and of a longer one its header alone."""


@contextmanager
def small_reads() -> Iterator[None]:
    """Read headers so few bytes at a time; the real size is above a whole test's log."""
    with mock.patch.object(segment_loader, "CHUNK_BYTES", PIECE_BYTES):
        yield

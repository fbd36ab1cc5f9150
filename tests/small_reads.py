"""Files read in small pieces, so that logs as small as those of tests cross their edges too."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Final
from unittest import mock

from logstore import event_search, index_load, read_plan, scanned, scrub, segment_loader
from model.record import HEADER_BYTES

PIECE_BYTES: Final = 2 * HEADER_BYTES
"""Holds a batch of one short record, and of a longer one its header alone."""
PIECES: Final[tuple[tuple[ModuleType, str], ...]] = (
    (segment_loader, "CHUNK_BYTES"),
    (scanned, "SCAN_BYTES"),
    (scrub, "CHUNK_BYTES"),
    (index_load, "READ_BYTES"),
    (event_search, "READ_BYTES_MAX"),
    (read_plan, "SLACK_BYTES"),
)


@contextmanager
def small_reads() -> Iterator[None]:
    """Read so few bytes at a time; the real sizes are above a whole test's log."""
    with ExitStack() as stack:
        for module, name in PIECES:
            stack.enter_context(mock.patch.object(module, name, PIECE_BYTES))
        yield

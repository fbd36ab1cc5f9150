"""Getting the index of a segment: from memory, from its file, or from the segment itself.

Whatever is wrong with the file, the answer is the same (P37): a file that does not parse, or whose
witness is not in the segment, is passed over, and the index is built from the batches' headers.
"""

from typing import Final

from logstore.batch import SLICE_RECORDS
from logstore.index_builder import IndexBuilder
from logstore.offset_index import OffsetIndex, Witness
from logstore.searchable import (
    NeedIndex,
    Search,
    SearchableLog,
    SearchableSegment,
    Slice,
    read_block,
)
from model.errors import MalformedError
from model.ids import Position
from model.record import HEADER_BYTES, BatchHeader, peek_size

READ_BYTES: Final = 64 << 10
"""A read when headers are all that is wanted: many small batches, or little of a large one."""


def load_index(log: SearchableLog, segment: SearchableSegment) -> Search[OffsetIndex]:
    """Return the segment's index and leave it with the log."""
    index = segment.index()
    if index is not None:
        return index
    file = yield NeedIndex(segment)
    if file is not None:
        assert isinstance(file, bytes), "SEARCH_IS_SENT_WHAT_IT_ASKED"
        index = yield from _decoded(segment, file)
    builder = IndexBuilder(index or OffsetIndex(segment.base_offset), log.index_interval_bytes)
    yield from _extend(segment, builder)
    if segment.index() is None:  # else another search was faster
        segment.keep_index(builder.index)
    return segment.index() or builder.index


def _decoded(segment: SearchableSegment, file: bytes) -> Search[OffsetIndex | None]:
    """Return the index of a file if it describes the batches that are there now."""
    try:
        index = OffsetIndex.decode(file, segment.base_offset)
    except MalformedError:
        return None
    witness = index.witness
    if witness is None:
        return index
    if not witness.position + HEADER_BYTES <= index.end <= segment.size_bytes:
        return None
    batch = yield from read_block(segment, witness.position, index.end, cut=True)
    try:
        same = Witness.of(BatchHeader(batch), witness.position) == witness
    except MalformedError:
        return None
    return index if same else None


def _extend(segment: SearchableSegment, builder: IndexBuilder) -> Search[None]:
    """Index what lies behind the rows, from the headers of the batches, to the last of them."""
    while builder.end < segment.size_bytes:
        start = builder.end
        end = Position(min(start + READ_BYTES, segment.size_bytes))
        block = yield from read_block(segment, start, end, cut=end < segment.size_bytes)
        batches = 0
        while (at := builder.end - start) + HEADER_BYTES <= len(block):
            peek_size(block, at)
            builder.add(BatchHeader.of_checked(block[at:]))
            batches += 1
            if batches % SLICE_RECORDS == 0:
                yield Slice()
        if not batches or builder.end > segment.size_bytes:
            raise MalformedError("segment", builder.end, "it does not end with a whole batch")
    builder.close()

"""The quorum's messages on the peer wire: bytes out, bytes in.

Format: docs/formats/peer_frames.md, raft. Each begins with who speaks, who is meant and the
speaker's term. What `messages.py` calls a value is a value here; its bytes are here alone.

Whoever reads an append is given entries that follow one another, in terms that rise or stay and
are none beyond the speaker's: indexes are counted, not sent. They carry a checksum, which is the
only thing on this wire that is checked so: an entry that was damaged on its way would be written
down with a sound checksum of the file's, and be this member's own from then on.
"""

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple

from cluster.peer.fields import I64_MAX, BodyReader
from cluster.peer.table import Family, Frame, FrameType, packed
from cluster.raft.entry import Entry
from cluster.raft.messages import (
    AppendRefusal,
    AppendReply,
    AppendRequest,
    Heartbeat,
    HeartbeatReply,
    Message,
    NewerTerm,
    PreVoteReply,
    PreVoteRequest,
    ReadReply,
    ReadRequest,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from cluster.raft.voters import Voter
from logstore.crc32c import crc32c
from model.ids import Index, NodeId, Term


class Ends(NamedTuple):
    """What every message begins with."""

    source: Voter
    to: Voter
    term: Term


class _Layout(NamedTuple):
    """A message of numbers alone: `counters` behind the head, then a flag or none."""

    number: FrameType
    counters: Struct
    flag: bool = False


_HEAD: Final = Struct(">i16si16sQ")  # source, to: node and directory each; term
_NONE: Final = Struct(">")
_ONE: Final = Struct(">Q")
_TWO: Final = Struct(">QQ")
_FOUR: Final = Struct(">QQQQ")
_COUNT: Final = Struct(">II")  # entries, crc32c over their rows
_ENTRY: Final = Struct(">QBI")  # term, kind, bytes of payload

_LAYOUTS: Final[Mapping[type[Message], _Layout]] = {
    PreVoteRequest: _Layout(FrameType.PRE_VOTE_REQUEST, _TWO),
    PreVoteReply: _Layout(FrameType.PRE_VOTE_REPLY, _NONE, flag=True),
    VoteRequest: _Layout(FrameType.VOTE_REQUEST, _TWO, flag=True),
    VoteReply: _Layout(FrameType.VOTE_REPLY, _NONE, flag=True),
    AppendReply: _Layout(FrameType.APPEND_REPLY, _ONE),
    AppendRefusal: _Layout(FrameType.APPEND_REFUSAL, _FOUR),
    Heartbeat: _Layout(FrameType.RAFT_HEARTBEAT, _TWO),
    HeartbeatReply: _Layout(FrameType.RAFT_HEARTBEAT_REPLY, _ONE),
    SnapshotReply: _Layout(FrameType.RAFT_SNAPSHOT_REPLY, _TWO),
    TimeoutNow: _Layout(FrameType.TIMEOUT_NOW, _NONE),
    ReadRequest: _Layout(FrameType.READ_REQUEST, _ONE),
    ReadReply: _Layout(FrameType.READ_REPLY, _TWO),
    NewerTerm: _Layout(FrameType.NEWER_TERM, _NONE),
}
_MESSAGES: Final = {layout.number: (kind, layout) for kind, layout in _LAYOUTS.items()}


def encode(message: Message) -> bytes:
    """Return a message's whole frame."""
    source, to, term = message[:3]
    begin = _HEAD.pack(*source, *to, term)
    if isinstance(message, AppendRequest):
        return packed(FrameType.APPEND_REQUEST, begin, *_append(message))
    if isinstance(message, SnapshotChunk):
        place = (message.last_index, message.last_term, message.offset, message.size_bytes)
        return packed(FrameType.RAFT_SNAPSHOT_CHUNK, begin, _FOUR.pack(*place), message.chunk)
    number, counters, flag = _LAYOUTS[type(message)]
    if not flag:
        return packed(number, begin, counters.pack(*message[3:]))
    return packed(number, begin, counters.pack(*message[3:-1]), bytes([message[-1] is True]))


def decode(frame: Frame) -> Message:
    """Return what a frame of the quorum says; nothing of it lies in the connection's buffer.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.RAFT, "PEER_FRAME_FAMILY"
    reader = BodyReader(frame)
    ends = _ends(reader)
    message: Message
    if frame.type is FrameType.APPEND_REQUEST:
        message = _read_append(reader, ends)
    elif frame.type is FrameType.RAFT_SNAPSHOT_CHUNK:
        message = _read_chunk(reader, ends)
    else:
        kind, layout = _MESSAGES[frame.type]
        values: list[int] = []
        if layout.counters.size:
            values += reader.counters(layout.counters)
        if layout.flag:
            values.append(reader.flag())
        message = kind._make((*ends, *values))
    reader.finish()
    return message


def _append(message: AppendRequest) -> list[bytes]:
    place = (message.prev_index, message.prev_term, message.commit, message.attempt)
    rows: list[bytes] = []
    crc = 0
    for entry in message.entries:
        row = _ENTRY.pack(entry.term, entry.kind, len(entry.payload))
        crc = crc32c(entry.payload, crc32c(row, crc))
        rows += (row, entry.payload)
    return [_FOUR.pack(*place), _COUNT.pack(len(message.entries), crc), *rows]


def _ends(reader: BodyReader) -> Ends:
    source, source_directory, to, to_directory, term = reader.unpack(_HEAD)
    reader.check(source >= 0 and to >= 0, f"from node {source} to {to}", back=_HEAD.size)
    reader.check(term <= I64_MAX, f"term {term}", back=8)
    return Ends(
        Voter(NodeId(source), source_directory), Voter(NodeId(to), to_directory), Term(term)
    )


def _read_append(reader: BodyReader, ends: Ends) -> AppendRequest:
    prev_index, prev_term, commit, attempt = reader.counters(_FOUR)
    count, crc = reader.unpack(_COUNT)
    reader.check(count <= I64_MAX - prev_index, f"{count} entries behind {prev_index}", back=8)
    reader.check(crc32c(reader.peek()) == crc, "checksum of the entries")
    index, term = prev_index, prev_term

    def entry() -> Entry:
        nonlocal index, term
        index += 1
        before, (term, kind, size) = term, reader.unpack(_ENTRY)
        if not before <= term <= ends.term:
            raise reader.wrong(f"an entry of term {term} behind {before}", back=_ENTRY.size)
        return Entry(Term(term), Index(index), kind, bytes(reader.view(size)))

    entries = reader.rows(count, entry, least_bytes=_ENTRY.size)
    return AppendRequest(
        *ends, Index(prev_index), Term(prev_term), entries, Index(commit), attempt=attempt
    )


def _read_chunk(reader: BodyReader, ends: Ends) -> SnapshotChunk:
    last_index, last_term, offset, size_bytes = reader.counters(_FOUR)
    chunk = bytes(reader.rest())
    why = f"{len(chunk)} bytes at {offset} of a file of {size_bytes}"
    reader.check(offset + len(chunk) <= size_bytes, why, back=len(chunk))
    place = (Index(last_index), Term(last_term))
    return SnapshotChunk(*ends, *place, offset=offset, chunk=chunk, size_bytes=size_bytes)

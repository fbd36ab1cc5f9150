"""A client of gRPC that takes of answers what HTTP/2 begins with, 64 KiB, and more when told to.

A real client takes a message in ahead of its reader; this one is one that reads nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from google.protobuf.message import Message

from api.door import Address

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2 begins with: its preface, and settings that set nothing."""
HEADERS, DATA, RESET, WINDOW = b"\1\4", b"\0\1", b"\3\0", b"\10\0"
"""Kinds of frames, and their flags: the end of the headers, and of the stream."""
CANCEL = 8
FRAME_BYTES_MAX = 16_000


def _header(name: str, value: str) -> bytes:
    """Write one header of HTTP/2 as it is (RFC 7541, 6.2.2)."""
    return b"".join([b"\0", *(bytes([len(text)]) + text.encode() for text in (name, value))])


def _frame(kind: bytes, body: bytes, stream: int) -> bytes:
    return len(body).to_bytes(3) + kind + stream.to_bytes(4) + body


@dataclass
class NarrowPeer:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    streams: int = 0

    def call(self, name: str, request: Message) -> int:
        """Begin a call, `LogService/Fetch` and so on; return the number of its stream."""
        stream = 2 * self.streams + 1
        self.streams += 1
        headers = {
            ":method": "POST", ":scheme": "http", ":path": f"/tidelog.v1.{name}",
            ":authority": "x", "content-type": "application/grpc", "te": "trailers",
        }  # fmt: skip
        asked = request.SerializeToString()
        assert len(asked) < FRAME_BYTES_MAX
        block = b"".join(_header(*one) for one in headers.items())
        self.writer.write(_frame(HEADERS, block, stream))
        self.writer.write(_frame(DATA, b"\0" + len(asked).to_bytes(4) + asked, stream))
        return stream

    def widen(self, size_bytes: int) -> None:
        """Have so much more room: for the connection, and for each of its streams."""
        for stream in (0, *range(1, 2 * self.streams, 2)):
            self.writer.write(_frame(WINDOW, size_bytes.to_bytes(4), stream))

    def cancel(self, stream: int) -> None:
        """Want no more of a call."""
        self.writer.write(_frame(RESET, CANCEL.to_bytes(4), stream))

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def narrow_peer(address: Address) -> AsyncIterator[NarrowPeer]:
    """Connect; hang up at the end."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(GREETING)
    peer = NarrowPeer(reader, writer)
    try:
        yield peer
    finally:
        await peer.close()

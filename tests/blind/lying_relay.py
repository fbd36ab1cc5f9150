"""Between a Kafka client and the node: a relay that makes some batches lie about their times.

librdkafka computes a batch's greatest timestamp itself, and rightly. Here the field is written over
in passing, and the checksum made true again, so that the node gets what a faulty client would send.
Which way it lies, the client's id says.
"""

import asyncio
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Final

from logstore.crc32c import crc32c
from model.record import (
    CHECKSUM_AT,
    COVERED_FROM,
    HEADER_BYTES,
    LENGTH_COUNTS_FROM,
    MAGIC,
    BatchHeader,
)

TOO_LOW: Final = "says-too-low"
TOO_HIGH: Final = "says-too-high"
FAR_MS: Final = 400 * 86_400_000
"""By how much the lie is off: more than the year that the records span."""
PRODUCE: Final = 0
HOST: Final = "127.0.0.1"
MAX_TIMESTAMP_AT: Final = 35
_HEAD: Final = struct.Struct(">hhih")  # API, version, correlation, length of the client's id
_INT64: Final = struct.Struct(">q")
_UINT32: Final = struct.Struct(">I")


class LyingRelay:
    """Passes connections on to the node's Kafka door, wherever that is by then."""

    def __init__(self, target: Callable[[], int]) -> None:
        """`target`: the node's port; asked for with each connection."""
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.lies: Counter[str] = Counter()
        """Batches that were made to lie, each way."""

    @property
    def port(self) -> int:
        """Where clients connect."""
        assert self._server is not None, "the relay was not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._connected, HOST, 0)

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.close()
            await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection(HOST, self._target())
        except OSError:  # the node is down: so is this connection
            self._close(writer)
            return
        self._open.add(back)
        await asyncio.gather(
            self._until_closed(self._requests(reader, back), writer, back),
            self._until_closed(_copy(there, writer), writer, back),
        )

    async def _until_closed(self, work: Awaitable[None], *writers: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):  # either side may be gone
            await work
        for writer in writers:
            self._close(writer)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.close()

    async def _requests(self, reader: asyncio.StreamReader, node: asyncio.StreamWriter) -> None:
        while True:
            length = await reader.readexactly(4)
            frame = bytearray(await reader.readexactly(int.from_bytes(length, "big")))
            self._make_lie(frame)
            node.write(length + frame)
            await node.drain()

    def _make_lie(self, frame: bytearray) -> None:
        api, _, _, size = _HEAD.unpack_from(frame)
        name = bytes(frame[_HEAD.size : _HEAD.size + max(size, 0)]).decode()
        if api == PRODUCE and name in {TOO_LOW, TOO_HIGH}:
            for at, end in batches_in(frame):
                lie(memoryview(frame)[at:end], high=name == TOO_HIGH)
                self.lies[name] += 1


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


def batches_in(frame: bytearray) -> Iterator[tuple[int, int]]:
    """Yield where the record batches of a Produce request begin and end.

    What has the base offset 0 that producers send, a length that fits and a checksum that is true
    is one: so no version of the request has to be known.
    """
    at = frame.find(bytes(8))
    while at >= 0:
        end = _end_of(frame, at)
        if end is None:
            at = frame.find(bytes(8), at + 1)
        else:
            yield at, end
            at = frame.find(bytes(8), end)


def _end_of(frame: bytearray, at: int) -> int | None:
    if at + HEADER_BYTES > len(frame) or frame[at + 16] != MAGIC:
        return None
    end = at + LENGTH_COUNTS_FROM + int.from_bytes(frame[at + 8 : at + 12], "big")
    if not at + HEADER_BYTES <= end <= len(frame):
        return None
    batch = memoryview(frame)[at:end]
    true = crc32c(batch[COVERED_FROM:]) == BatchHeader(batch).crc32c
    batch.release()
    return end if true else None


def lie(batch: memoryview, *, high: bool) -> None:
    """Write over a batch's greatest timestamp, in place, and make its checksum true again."""
    claimed = BatchHeader(batch).event_time_max + (FAR_MS if high else -FAR_MS)
    _INT64.pack_into(batch, MAX_TIMESTAMP_AT, max(claimed, 0))
    _UINT32.pack_into(batch, CHECKSUM_AT, crc32c(batch[COVERED_FROM:]))

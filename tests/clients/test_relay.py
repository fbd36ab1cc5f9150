"""The relay finds messages in frames, and cuts exactly in place of the chosen one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.clients.relay import DATA, PADDED, Message, Relay, Streams

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS = 1


def message(payload: bytes, compressed: int = 0) -> bytes:
    return bytes([compressed]) + len(payload).to_bytes(4) + payload


def frame(body: bytes, kind: int = DATA, stream: int = 1) -> bytes:
    return len(body).to_bytes(3) + bytes([kind, 0]) + stream.to_bytes(4) + body


def test_messages_are_put_together_from_frames_of_any_size() -> None:
    for size in range(1, 20):
        streams = Streams()
        whole = message(b"one") + message(b"") + message(b"three")
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        found = [one for piece in pieces for one in streams.add(1, 0, piece)]
        assert found == [b"one", b"", b"three"]


def test_streams_are_kept_apart_and_padding_is_left_out() -> None:
    streams = Streams()
    first, second = message(b"first"), message(b"second")
    assert not list(streams.add(1, 0, first[:7]))
    assert list(streams.add(3, PADDED, bytes([2]) + second + b"\0\0")) == [b"second"]
    assert list(streams.add(1, 0, first[7:])) == [b"first"]


def test_a_message_that_cannot_be_read_is_no_silence() -> None:
    with pytest.raises(AssertionError, match="compresses"):
        list(Streams().add(1, 0, message(b"x", compressed=1)))


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """Serve what answers each whole frame with the same frame."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(len(PREFACE))
            while True:
                head = await reader.readexactly(9)
                body = await reader.readexactly(int.from_bytes(head[:3]))
                writer.write(head + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


async def test_what_came_before_the_cut_has_passed_and_the_message_has_not() -> None:
    heard: list[Message] = []

    def hear(one: Message) -> bool:
        heard.append(one)
        return not one.to_node and one.payload == b"two"

    async with echo() as node:
        relay = Relay(node, hear)
        async with relay.open() as address:
            host, _, port = address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            passes = frame(b"any", HEADERS) + frame(message(b"one"))
            writer.write(PREFACE + passes)
            assert await reader.readexactly(len(passes)) == passes
            writer.write(frame(message(b"two")))
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
            writer.close()
            again, writer = await asyncio.open_connection(host, int(port))
            writer.write(PREFACE + passes)
            assert await again.readexactly(len(passes)) == passes
            writer.close()
    payloads = [(one.connection, one.to_node, one.payload) for one in heard]
    assert payloads == [
        *((1, True, b"one"), (1, False, b"one"), (1, True, b"two"), (1, False, b"two")),
        *((2, True, b"one"), (2, False, b"one")),
    ]
    assert (relay.cuts, relay.connections) == (1, 2)

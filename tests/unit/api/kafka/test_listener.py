"""The listener on a real port: who is let in, who is shown out (P54, P57, P58, P59)."""

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from api.crowd import Crowd
from api.kafka_settings import KafkaSettings
from tests.kafka_door import LATER, NOW, POLL, Listening, answers, listening, request

GUARD_S = 10
"""Here pytest's own limit could not report: it needs a descriptor."""


async def converse(address: tuple[str, int], *requests: bytes) -> list[tuple[int, bytes]]:
    """Send requests, say that no more come, and return all answers."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"".join(requests))
    found = []
    for _ in requests:
        size = int.from_bytes(await reader.readexactly(4), "big")
        found.append(size.to_bytes(4, "big") + await reader.readexactly(size))
    writer.close()
    await writer.wait_closed()
    return answers(b"".join(found))


async def is_hung_up_on(address: tuple[str, int]) -> bool:
    """Tell whether a new client is turned away."""
    with connecting(address) as client:
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(client, request(NOW, 2, 1))
            return await loop.sock_recv(client, 1) == b""
        except (BrokenPipeError, ConnectionResetError):
            return True


@contextmanager
def connecting(address: tuple[str, int], *, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Return a client's socket, connected."""
    with closing(socket.socket()) as client:
        client.bind((source, 0))
        client.connect(address)  # the backlog takes it: nobody needs to run for that
        client.settimeout(0)
        yield client


async def connected(at: Listening, stack: ExitStack, *, source: str = "127.0.0.1") -> None:
    """Add a client that the listener has let in."""
    client = stack.enter_context(connecting(at.address, source=source))
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, request(NOW, 2, 1, b"x"))
    assert len(await loop.sock_recv(client, 100)) == 9


async def until(at: Listening, *, connections: int) -> None:
    """Let the loop run until the listener has so many."""
    while at.listener.connections != connections:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)


async def test_clients_are_served_and_counted() -> None:
    async with listening() as at:
        assert await converse(at.address, request(NOW, 2, 1, b"a"), request(NOW, 2, 2, b"b")) == [
            (1, b"a"),
            (2, b"b"),
        ]
        await until(at, connections=0)
        assert at.parts.counters.snapshot() | {"requests": 2, "accepted": 1} == (
            at.parts.counters.snapshot()
        )


async def test_all_clients_together_are_limited() -> None:
    async with listening(KafkaSettings(connections_max=3)) as at:
        with ExitStack() as first, ExitStack() as others:
            await connected(at, first)
            await connected(at, others)
            await connected(at, others)
            assert await is_hung_up_on(at.address)
            assert at.parts.counters.refused_full == 1
            first.close()
            await until(at, connections=2)
            await connected(at, others)


async def test_the_clients_of_two_listeners_are_limited_together() -> None:
    crowd, limits = Crowd(), KafkaSettings(connections_max=3, connections_per_address_max=2)
    async with listening(limits, crowd=crowd) as one, listening(limits, crowd=crowd) as other:
        with ExitStack() as first, ExitStack() as others:
            await connected(one, first)
            await connected(other, others)
            assert await is_hung_up_on(one.address)  # by its address
            assert await is_hung_up_on(other.address)
            await connected(other, others, source="127.0.0.2")
            assert other.parts.counters.connections == 3
            with ExitStack() as third:
                with pytest.raises(ConnectionResetError):
                    await connected(one, third, source="127.0.0.3")
            first.close()
            await until(one, connections=0)
            await connected(other, others)
            assert (crowd.size, dict(crowd.by_host)) == (3, {"127.0.0.1": 2, "127.0.0.2": 1})
    assert (crowd.size, crowd.by_host) == (0, {})


async def test_clients_of_one_address_are_limited() -> None:
    async with listening(KafkaSettings(connections_per_address_max=2)) as at:
        with ExitStack() as clients:
            await connected(at, clients)
            await connected(at, clients)
            assert await is_hung_up_on(at.address)
            assert at.parts.counters.refused_address_full == 1
            await connected(at, clients, source="127.0.0.2")


async def test_near_the_limit_of_descriptors_clients_are_refused() -> None:
    async with listening(descriptors_max=4) as at:
        assert await is_hung_up_on(at.address)
        assert at.parts.counters.refused_descriptors == 1


async def test_running_out_of_descriptors_turns_clients_away_and_then_passes() -> None:
    async with listening() as at:
        with ExitStack() as clients:
            await connected(at, clients)
            client = clients.enter_context(closing(socket.socket()))
            client.settimeout(0)
            with no_more_descriptors():
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, at.address)
                async with asyncio.timeout(GUARD_S):
                    assert await loop.sock_recv(client, 1) == b""
            assert at.parts.counters.accept_errors == 1
            assert at.parts.log.events == ["kafka_accept_failed"]
            await connected(at, clients)


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Set the process's limit so that no further file can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(socket.socket()) as lowest_free:
        limit = lowest_free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            socket.socket()
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_silent_client_is_shown_out_and_one_that_waits_for_records_is_not() -> None:
    async with listening(KafkaSettings(idle_ms_max=1)) as at:
        polling, poll = await asyncio.open_connection(*at.address)
        poll.write(request(POLL, 2, 1))
        silent, quiet = await asyncio.open_connection(*at.address)
        assert await silent.read() == b""
        assert at.parts.counters.closed_idle == 1
        at.parts.handlers.waiting[0].respond(b"records")
        assert (await polling.readexactly(15))[8:] == b"records"
        poll.close()
        quiet.close()


async def test_half_a_request_is_not_waited_for_for_ever() -> None:
    async with listening(KafkaSettings(stalled_ms_max=1)) as at:
        reader, writer = await asyncio.open_connection(*at.address)
        writer.write(request(NOW, 2, 1)[:-3])
        assert await reader.read() == b""
        assert at.parts.counters.closed_stalled == 1
        assert "kafka_connection_stalled" in at.parts.log.events
        writer.close()


async def test_a_reader_that_is_dead_is_cut_off() -> None:
    settings = KafkaSettings(stalled_ms_max=1, connection_buffer_bytes_max=1 << 16)
    async with listening(settings) as at:
        with closing(socket.socket()) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(at.address)
            client.settimeout(0)
            loop = asyncio.get_running_loop()
            body = request(NOW, 2, 1, b"x" * 60_000)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                while True:
                    await loop.sock_sendall(client, body)
        await until(at, connections=0)
        assert at.parts.counters.closed_stalled == 1


async def test_stopping_answers_what_was_accepted() -> None:
    async with listening() as at:
        reader, writer = await asyncio.open_connection(*at.address)
        writer.write(request(LATER, 2, 5))
        await at.parts.handlers.arrived.wait()
        stop = asyncio.ensure_future(at.listener.stop(grace_ms=10_000))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*at.address)
        at.parts.handlers.waiting[0].respond(b"late")
        assert answers(await reader.read()) == [(5, b"late")]
        await stop
        writer.close()

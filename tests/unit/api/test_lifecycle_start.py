"""The start of a node that waits for others: it can be stopped, and a refusal is told as one."""

import asyncio
from collections.abc import Sequence

import pytest

from api.door import Address, Door, DoorTaken
from api.node.assemble import Node
from api.node.lifecycle import EXIT_OK, EXIT_REFUSED, Lifecycle
from model.errors import DirectoryExit, DirectoryRefused


class Watcher:
    """Notes what is told."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def ready(self, addresses: dict[str, Address]) -> None:
        raise AssertionError(addresses)

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


def no_doors(node: Node) -> Sequence[Door]:
    raise AssertionError(node)


async def test_a_start_that_waits_is_broken_off_by_a_stop() -> None:
    lifecycle, cleaned = Lifecycle(Watcher()), asyncio.Event()

    async def start(_: Lifecycle) -> Node:
        asyncio.get_running_loop().call_soon(lifecycle.request_stop)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()
        raise AssertionError

    assert await lifecycle.run(start, no_doors) == EXIT_OK
    assert cleaned.is_set()


async def test_probes_hear_of_the_end_before_anything_is_handed_over() -> None:
    told: list[str] = []
    lifecycle = Lifecycle(Watcher(), stopping=lambda: told.append("stopping"))

    async def start(_: Lifecycle) -> Node:
        asyncio.get_running_loop().call_soon(lifecycle.request_stop)
        try:
            await asyncio.Event().wait()
        finally:
            told.append("ends")
        raise AssertionError

    assert await lifecycle.run(start, no_doors) == EXIT_OK
    assert told == ["stopping", "ends"]


async def test_what_fails_beside_a_start_that_waits_ends_it() -> None:
    watcher = Watcher()
    lifecycle = Lifecycle(watcher)
    refused = DirectoryRefused(DirectoryExit.FENCED, "another has the id")

    async def start(lifecycle: Lifecycle) -> Node:
        asyncio.get_running_loop().call_soon(lifecycle.fail, refused)
        await asyncio.Event().wait()
        raise AssertionError

    assert await lifecycle.run(start, no_doors) == int(DirectoryExit.FENCED)
    assert watcher.errors == [refused]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DirectoryRefused(DirectoryExit.FENCED, "no"), 12),
        (DoorTaken("peer", Address("h", 1), "in use"), EXIT_REFUSED),
    ],
)
async def test_a_refused_start_has_its_exit_code(error: Exception, code: int) -> None:
    watcher = Watcher()

    async def start(_: Lifecycle) -> Node:
        raise error

    assert await Lifecycle(watcher).run(start, no_doors) == code
    assert watcher.errors == [error]


async def test_a_time_out_that_nobody_asked_for_is_a_bug() -> None:
    async def start(_: Lifecycle) -> Node:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await Lifecycle(Watcher()).run(start, no_doors)

"""Any bytes as one file of the quorum's directory: opened, replayed and led, or refused by name.

The first byte chooses the file. What is opened is opened again, and must hold the same.
"""

import asyncio
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, Final, TypeVar

from api.sim.disk import SimDisk
from api.sim.image import Image
from cluster.controller.image import MetadataImage
from cluster.controller.topics import CreateTopic
from cluster.settings import ClusterSettings
from model.errors import DirectoryRefused
from tests.fuzz.memory_disk import MemoryDisk
from tests.quorum import REGISTER, open_voter, running

ResultT = TypeVar("ResultT")

BASE_NS: Final = 60_000_000
"""The rest of the directory is opened and replayed too, twice."""
READS: Final = 4
SETTINGS: Final = ClusterSettings(quorum_file_bytes=1 << 10, quorum_snapshot_entries=8)


@lru_cache(maxsize=1)
def image() -> Image:
    """Return the directory of a quorum that was started three times and decided a few things."""
    disk = SimDisk()

    async def live() -> None:
        for life in range(3):
            voter = await open_voter(disk, settings=SETTINGS)
            async with running(voter):
                await voter.propose(REGISTER)
                for number in range(4):
                    await voter.propose(CreateTopic(name=f"topic-{life}-{number}", partitions=2))
            disk.kill()

    asyncio.run(live())
    return disk.platter.image()


def names() -> list[str]:
    """Return the files of that directory."""
    return sorted(image().files)


def samples() -> list[bytes]:
    """Return every file as it is, behind its number."""
    return [bytes([number]) + image().files[name] for number, name in enumerate(names())]


def fuzz(data: bytes) -> None:
    """Open the quorum with one file replaced."""
    if not data:
        return
    name = names()[data[0] % len(names())]
    disk = MemoryDisk(image(), {name: data[1:]})
    try:
        found = _opened(disk)
    except DirectoryRefused:
        return
    assert _opened(disk).topics == found.topics, "opened twice, it has other topics"


def _opened(disk: MemoryDisk) -> MetadataImage:
    return at_once(open_voter(disk, settings=SETTINGS)).image


def at_once(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Return the result of what never waits: its doors answer at once."""
    try:
        work.send(None)
    except StopIteration as done:
        result: ResultT = done.value
        return result
    raise AssertionError("it waits")

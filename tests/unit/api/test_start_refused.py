"""A node that cannot begin ends with an exit code and no traceback.

A read-only file system is met by the first file that is opened, which is for writing. And metadata
that are not all there are never read as none (P46).
"""

import errno
from collections.abc import Mapping

import pytest

from api.node.refusals import override, refusal_of
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from api.sim.image import Image
from model.errors import DirectoryExit, DirectoryRefused, StorageFailed
from tests.broker_node import broker_node


@pytest.mark.parametrize(
    ("error", "hint"), [(errno.EROFS, "mount its file system for writing"), (errno.EIO, "verify")]
)
async def test_an_identity_that_cannot_be_opened_is_a_failed_disk(error: int, hint: str) -> None:
    disk = SimDisk()
    async with broker_node(disk):
        pass
    disk.kill()
    disk.faults.add(Fault(Operation.OPEN, "identity", error))
    with pytest.raises(StorageFailed, match="identity") as failed:
        async with broker_node(disk):
            raise AssertionError("it started")
    refusal = refusal_of(failed.value, data_dir="data", option=override)
    assert refusal is not None
    assert refusal.exit_code == 11
    assert hint in str(refusal.hint)


def without(files: Mapping[str, bytes], *gone: str) -> dict[str, bytes]:
    return {name: held for name, held in files.items() if not name.startswith(gone)}


async def two_lives() -> tuple[Image, Image]:
    """Return a directory after its node's first life and after the second; each made a topic."""
    disk, images = SimDisk(), []
    for topic in ("orders", "more"):
        async with broker_node(disk) as node:
            await node.create(topic)
        disk.kill()
        images.append(disk.platter.image())
    first, second = images
    return first, second


async def refused_with(files: Mapping[str, bytes], like: Image, *, unchanged: bool = False) -> str:
    """Start a node on these files, twice: it refuses both times, and says the same."""
    disk, said = SimDisk(Image(files, like.directories)), []
    for _ in range(2):
        with pytest.raises(DirectoryRefused) as refused:
            async with broker_node(disk):
                raise AssertionError("it started")
        assert refused.value.exit_code is DirectoryExit.FAILED
        said.append(refused.value.detail)
        disk.kill()
        assert not unchanged or disk.platter.image().files == files
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize("gone", ["metadata/", "metadata/0"])
async def test_lost_metadata_are_not_taken_for_a_directory_without_topics(gone: str) -> None:
    _, whole = await two_lives()
    assert any(name.startswith("metadata/0") for name in whole.files)
    files = without(whole.files, gone)
    said = await refused_with(files, whole, unchanged=True)
    assert said.startswith("metadata/ has neither log nor snapshot, yet identity remembers")
    assert "restore the data directory from a copy" in said


async def test_older_metadata_are_not_taken_for_the_newest() -> None:
    before, whole = await two_lives()
    older = {name: held for name, held in before.files.items() if name.startswith("metadata/")}
    said = await refused_with(without(whole.files, "metadata/") | older, whole)
    assert said.startswith("metadata/ knows registration ")

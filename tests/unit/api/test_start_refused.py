"""A node whose directory cannot even be looked at ends with the disk's own error, and no traceback.

A read-only file system is met here first: files are opened for writing.
"""

import errno

import pytest

from api.node.refusals import refusal_of
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from model.errors import StorageFailed
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
    refusal = refusal_of(failed.value, data_dir="data")
    assert refusal is not None
    assert refusal.exit_code == 11
    assert hint in str(refusal.hint)

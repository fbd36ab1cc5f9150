"""The cluster that several modules damage; a module about sound nodes has a `nodes` of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.damage_nodes import DamageNodes


@pytest.fixture
async def nodes() -> AsyncIterator[DamageNodes]:
    """Give three nodes that have begun, whose disks may rot."""
    made = DamageNodes()
    try:
        await made.start()
        yield made
    finally:
        await made.close()

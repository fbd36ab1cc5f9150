"""A whole node for each test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.grpc_node import GrpcNode, grpc_node


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[GrpcNode]:
    async with grpc_node(tmp_path) as node:
        yield node

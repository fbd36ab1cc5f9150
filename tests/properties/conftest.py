"""What all properties have in common."""

from collections.abc import Iterator

import pytest

from tests.small_reads import small_reads


@pytest.fixture(autouse=True, scope="module")
def pieces() -> Iterator[None]:
    """Let every log cross the edges of what is read at once."""
    with small_reads():
        yield

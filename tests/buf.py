"""buf, the linter of proto files, where `npm ci --prefix tools/buf` or the user has put it."""

import shutil
from os import environ, pathsep
from pathlib import Path
from typing import Final

import pytest

FETCHED: Final = Path(__file__).parents[1] / "tools/buf/node_modules/.bin"


def buf() -> str:
    """Return the program; a test that needs it is skipped where there is none."""
    found = shutil.which("buf", path=pathsep.join([str(FETCHED), environ.get("PATH", "")]))
    if found is None:
        pytest.skip("buf is not installed: npm ci --ignore-scripts --prefix tools/buf")
    return found

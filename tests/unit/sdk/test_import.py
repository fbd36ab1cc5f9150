"""Importing the package costs little and loads little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tidelog
from tidelog import _HOME

SLOW_FACTOR = 3
"""What a busy machine is forgiven."""
IMPORT_MS = 150


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh Python has after a statement."""
    program = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_no_command_line_and_no_grpc() -> None:
    loaded = loaded_by("import tidelog")
    assert not loaded & {"click", "rich", "grpc", "google.protobuf", "msgspec", "api", "model"}


def test_using_it_loads_no_command_line_and_no_server() -> None:
    loaded = loaded_by("import tidelog; tidelog.connect; tidelog.sync; tidelog.json(int)")
    assert "grpc" in loaded
    assert not loaded & {"click", "rich", "api", "model", "logstore", "cluster"}


def test_importing_the_package_is_quick() -> None:
    measure = "import time; t = time.perf_counter(); import tidelog; print(time.perf_counter() - t)"
    took_s = min(
        float(
            subprocess.run([sys.executable, "-c", measure], capture_output=True, check=True).stdout
        )
        for _ in range(3)
    )
    assert took_s * 1000 < IMPORT_MS * SLOW_FACTOR


@pytest.mark.parametrize("name", tidelog.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(tidelog, name) is not None
    assert name in dir(tidelog)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tidelog.nonsense  # noqa: B018


def test_the_lazy_table_and_the_types_agree() -> None:
    """What type checkers see (`if TYPE_CHECKING`) is what is loaded."""
    tree = ast.parse(Path(tidelog.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: (node.module or "").removeprefix("tidelog").removeprefix(".")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == _HOME
    assert set(tidelog.__all__) == _HOME.keys() | {"sync"}

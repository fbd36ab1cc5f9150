"""How an import line changes on its way into the wheel."""

from pathlib import Path

import pytest

from tools.wheel_namespace import nested

CASES = {
    "from model.ids import Offset\n": "from tidelog.model.ids import Offset\n",
    "from api import errors\n": "from tidelog.api import errors\n",
    "def f():\n    from api.cli import tree\n": "def f():\n    from tidelog.api.cli import tree\n",
    "from logstore.segment import (\n    A,\n    B,\n)\n": (
        "from tidelog.logstore.segment import (\n    A,\n    B,\n)\n"
    ),
    # left as they are
    "from modeling import x\nfrom apis.cli import y\nimport json\n": None,
    "from tidelog.v1 import log_service_pb2\n": None,
    '"""from model.ids import Offset"""\n': None,
    "text = 'from api import errors'\n": None,
}


@pytest.mark.parametrize("source", CASES)
def test_only_imports_that_name_the_server_change(source: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(source)
    assert nested(module).decode() == (CASES[source] or source)


@pytest.mark.parametrize("source", ["import model.ids\n", "import json, api\n"])
def test_an_import_that_would_bind_another_name_is_refused(source: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(source)
    with pytest.raises(SyntaxError, match=r"module\.py:1: write `from"):
        nested(module)


def test_bytes_beside_the_imports_stay_as_they_are(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_bytes('name = "Zoë"\nfrom model.ids import Offset  # ë\n'.encode())
    assert nested(module) == 'name = "Zoë"\nfrom tidelog.model.ids import Offset  # ë\n'.encode()

"""The façade without await is generated, fresh, and whole."""

import ast
import inspect
from pathlib import Path

import pytest

import tidelog
import tidelog.sync
from tools import gen_sync


def test_the_committed_file_is_fresh() -> None:
    assert gen_sync.main(["--check"]) == 0


def test_a_stale_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "sync.py"
    target.write_text(gen_sync.TARGET.read_text() + "\n")
    monkeypatch.setattr(gen_sync, "TARGET", target)
    assert gen_sync.main(["--check"]) == 1
    assert gen_sync.main([]) == 0
    assert gen_sync.main(["--check"]) == 0
    assert gen_sync.main(["--wrong"]) == 2


@pytest.mark.parametrize("name", sorted(gen_sync.CLASSES))
def test_every_public_method_has_its_twin(name: str) -> None:
    source, twin = getattr(tidelog, name), getattr(tidelog.sync, name)
    public = {m for m, _ in inspect.getmembers(source) if not m.startswith("_")}
    assert public - {"connection"} <= set(dir(twin)) | {"topics", "cluster"}
    for method in public:
        wanted = getattr(source, method, None)
        if inspect.isfunction(wanted) and method in vars(source):
            made = getattr(twin, method)
            assert list(inspect.signature(made).parameters) == [
                given
                for given in inspect.signature(wanted).parameters
                if not given.startswith("on_")  # they take coroutines
            ]


def test_it_is_a_module_without_await() -> None:
    tree = ast.parse(gen_sync.TARGET.read_text())
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Await | ast.AsyncFunctionDef)]

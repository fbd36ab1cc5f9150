"""Which gates `make check` has."""

from pathlib import Path

from tools.check import GATES, generators


def test_every_generator_is_asked_whether_its_files_are_fresh(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    assert generators(tmp_path) == []
    for name in ("gen_proto.py", "gen_docs.py", "tidy.py"):
        (tmp_path / "tools" / name).touch()
    assert [gate[1:] for gate in generators(tmp_path)] == [
        ("-m", "tools.gen_docs", "--check"),
        ("-m", "tools.gen_proto", "--check"),
    ]


def test_the_fixed_gates_are_all_there() -> None:
    shown = " ".join(word for gate in GATES for word in gate)
    for name in ("format --check", "ruff check", "mypy", "lint-imports", "tidy", "codespell"):
        assert name in shown

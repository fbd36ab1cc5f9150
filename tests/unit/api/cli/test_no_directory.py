"""`tidelog verify` of what is no data directory says what a start would do with it."""

import shutil
from pathlib import Path

import pytest

from logstore.disk_posix import LOCK_NAME
from tests.one_node import one_node
from tests.unit.api.cli.test_verify import run, written


async def test_an_empty_directory_is_not_refused_by_a_start(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, out, err = run("verify", str(empty))
    assert (code, out) == (1, "")
    assert err == (
        f"error: {empty}: the directory is empty: there is nothing to check\n"
        "hint: name the data directory of a node; a start with this one would make a new one "
        "here\n"
    )
    assert list(empty.iterdir()) == []
    async with one_node(empty):
        pass  # it starts


def test_the_lock_alone_is_an_empty_directory(tmp_path: Path) -> None:
    """A start that was refused, or killed at once, leaves it."""
    (tmp_path / LOCK_NAME).touch()
    code, _, err = run("verify", str(tmp_path))
    assert (code, "the directory is empty: there is nothing to check" in err) == (1, True)


async def test_foreign_files_are_named_and_a_start_goes_beside_them(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).write_text("mine")
    code, _, err = run("verify", str(tmp_path))
    assert code == 1
    assert "it has a.txt, b.txt, c.txt and 1 more, and no file of a node" in err
    assert "would make a new one beside what is there" in err
    assert "refuse" not in err
    async with one_node(tmp_path):
        pass


@pytest.mark.parametrize(
    "left", [("checkpoint",), ("partitions",), ("journal",), ("metadata",)], ids=" ".join
)
def test_what_a_start_would_refuse_without_identity_is_said(
    tmp_path: Path, left: tuple[str, ...]
) -> None:
    directory = written(tmp_path / "d", clean=True)
    for path in directory.iterdir():
        if path.name not in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    code, _, err = run("verify", str(directory))
    assert code == 11
    assert " is missing, yet " in err
    assert "a start would refuse it too" in err
    assert sorted(path.name for path in directory.iterdir()) == list(left)


def test_what_a_first_start_left_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "partitions").mkdir()
    code, _, err = run("verify", str(tmp_path))
    assert (code, "of a node there is only partitions, without records" in err) == (1, True)
    assert "the next one begins anew" in err

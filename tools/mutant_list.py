"""The faults that are planted on purpose: tests/mutants/<area>.toml, one table each.

A fault is one line that someone might write: `old`, which stands in `file` once, becomes `new`.
More lines around the one that differs only say which place is meant. `test` must fail then.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import ndiff
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = "tests/mutants"
FIELDS: Final = ("name", "file", "old", "new", "test", "breaks", "promise")
_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class MutantListError(ValueError):
    """The list or the tree under it is not as it must be; says which fault and what to do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One line that is wrong, and the test that says so."""

    area: str
    name: str
    file: str
    """Relative to the tree."""
    old: str
    new: str
    test: str
    """`path::name`: a function, or a class that hypothesis runs; with all of its parameters."""
    breaks: str
    """One sentence for people: what a user would suffer."""
    promise: str


def load(root: Path) -> list[Fault]:
    """Return every fault of a tree, area by area.

    Raises:
        MutantListError: a table lacks a field or has one too many, or a name stands twice.
    """
    faults: list[Fault] = []
    for page in sorted((root / FOLDER).glob("*.toml")):
        tables = tomllib.loads(page.read_text()).get("fault", [])
        for number, table in enumerate(tables, 1):
            where = f"{FOLDER}/{page.name}: fault {number}"
            if set(table) != set(FIELDS) or not all(isinstance(v, str) for v in table.values()):
                raise MutantListError(f"{where}: give it the texts {', '.join(FIELDS)}")
            if not _NAME.fullmatch(table["name"]):
                raise MutantListError(f"{where}: write its name as small-words-with-hyphens")
            if any(fault.name == table["name"] for fault in faults):
                raise MutantListError(f"{where}: {table['name']} stands twice; rename one")
            faults.append(Fault(page.stem, **table))
    return faults


def wrong_with(fault: Fault, root: Path) -> Iterator[str]:
    """Yield why a fault cannot be planted in a tree, without running anything."""
    path = root / fault.file
    if not path.is_file():
        yield f"there is no {fault.file}"
        return
    count = path.read_text().count(fault.old)
    if count != 1:
        yield f"`old` stands {count} times in {fault.file}; name a place that is there once"
    changes = [line[:1] for line in ndiff(fault.old.splitlines(), fault.new.splitlines())]
    if changes.count("-") > 1 or changes.count("+") > 1 or fault.old == fault.new:
        yield "one line differs, not more and not less"
    if count == 1:
        try:
            compile(path.read_text().replace(fault.old, fault.new), fault.file, "exec")
        except SyntaxError as error:
            yield f"with it {fault.file} does not compile: {error}"
    if not _is_there(fault.test, root):
        yield f"there is no {fault.test}"
    if f"| {fault.promise} |" not in (root / "docs/GUARANTEES.md").read_text():
        yield f"docs/GUARANTEES.md has no {fault.promise}"


def _is_there(test: str, root: Path) -> bool:
    """Tell whether a test module defines the name."""
    file, _, name = test.partition("::")
    path = root / file
    if not path.is_file():
        return False
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name == name:
                return True
        elif isinstance(node, ast.Assign):
            if any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
                return True
    return False


@contextmanager
def planted(fault: Fault, tree: Path) -> Iterator[None]:
    """Have the fault in a copy of the tree for a while.

    Compiled files beside it go, before and after: they are told by second and size, and a change
    can keep both.
    """
    path = tree / fault.file
    sound = path.read_text()
    if sound.count(fault.old) != 1:
        raise MutantListError(f"{fault.name}: `old` does not stand once in {fault.file}")
    try:
        _write(path, sound.replace(fault.old, fault.new))
        yield
    finally:
        _write(path, sound)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()

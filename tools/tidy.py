"""Checks of the tree that no linter knows. Run by `make check`.

Every message says what to do. There are no exemptions: a rule that needs one is changed here.
`python -m tools.tidy --missing` prints the rows that docs/ARCHITECTURE.md and docs/GUARANTEES.md
lack or have wrong, ready to be pasted and, for a new invariant, completed with its statement.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
SERVER: Final = ("model", "logstore", "cluster", "consumer_groups", "api")
CODE: Final = (*SERVER, "tidelog", "tests", "tools", "bench", "examples")
DOCUMENTS: Final = ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY", "THIRD_PARTY_LICENSES")
# Generated whole from a declaration elsewhere: as long as that declaration makes them.
GENERATED: Final = ("tidelog/v1/", "tidelog/sync.py")
# The real disk; everyone else takes a model.ports.Disk. The process's own ends (configuration,
# data directory of a command) are opened in api and tidelog.
PURE: Final = ("model", "logstore", "cluster", "consumer_groups")
DISK_DOOR: Final = "logstore/disk_posix.py"
FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60
VAGUE: Final = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
LINK: Final = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")
FENCE: Final = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
ROW: Final = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \|([^|]*)\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
FILE_ROW: Final = re.compile(rf"^\| `((?:{'|'.join(SERVER)})/[\w/]+\.py)` \|", re.MULTILINE)
PATH: Final = re.compile(rf"`((?:docs|{'|'.join(CODE)})/[\w/.-]+\.\w+)`")


def sources(root: Path) -> list[Path]:
    """Return our Python files, relative to the root, generated code excepted."""
    found = [path for name in CODE for path in (root / name).rglob("*.py")]
    relative = sorted(path.relative_to(root) for path in found)
    return [path for path in relative if not path.as_posix().startswith(GENERATED)]


def check_source(where: Path, tree: ast.Module, *, lines: int) -> Iterator[str]:
    """Yield what is wrong with one Python file."""
    package = where.parts[0]
    if where.stem in VAGUE:
        yield f"{where}: name the file after the concept it holds"
    if where.name == "__init__.py" and package == "tests":
        yield f"{where}: delete it; a package tests/logstore would hide our logstore"
    if lines > FILE_LINES_MAX:
        yield f"{where}: {lines} lines, at most {FILE_LINES_MAX}; split by concept"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{where}:{node.lineno}: {length} lines, at most {FUNCTION_LINES_MAX}"
        elif isinstance(node, ast.Assert) and package in SERVER and not invariant(node):
            yield f"{where}:{node.lineno}: name the invariant: assert ..., 'SCREAMING_NAME'"
        elif isinstance(node, ast.Call) and package in PURE and opens(node):
            if where.as_posix() != DISK_DOOR:
                yield f"{where}:{node.lineno}: take a model.ports.Disk instead of open()"


def invariant(node: ast.AST) -> str | None:
    """Return the name that an assertion carries."""
    if isinstance(node, ast.Assert) and isinstance(node.msg, ast.Constant):
        name = str(node.msg.value)
        return name if name.isupper() else None
    return None


def opens(node: ast.AST) -> bool:
    """Tell whether a node calls the built-in `open`."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"


def assertions(root: Path) -> dict[str, set[str]]:
    """Return, for each invariant, the server files that assert it."""
    found: dict[str, set[str]] = {}
    for where in sources(root):
        if where.parts[0] in SERVER:
            for node in ast.walk(ast.parse((root / where).read_text())):
                if name := invariant(node):
                    found.setdefault(name, set()).add(where.as_posix())
    return found


def tests_naming(root: Path, name: str) -> list[str]:
    """Return the test files and scripts in which a name stands as a whole word."""
    word = re.compile(rf"\b{name}\b")
    paths = [path for path in (root / "tests").rglob("*.*") if path.suffix in {".py", ".txt"}]
    return sorted(
        path.relative_to(root).as_posix() for path in paths if word.search(path.read_text())
    )


def check_guarantees(root: Path) -> Iterator[str]:
    """Yield where code, docs/GUARANTEES.md and tests do not agree on the invariants."""
    asserted = assertions(root)
    text = (root / "docs/GUARANTEES.md").read_text()
    rows = {name: cells for name, *cells in ROW.findall(text)}
    for name, files in sorted(asserted.items()):
        if name not in rows:
            yield f"docs/GUARANTEES.md: add {name}; `python -m tools.tidy --missing` prints its row"
            continue
        if set(PATH.findall(rows[name][1])) != files:
            yield f"docs/GUARANTEES.md: {name} is asserted in {', '.join(sorted(files))}"
        if "…" in rows[name][0]:
            yield f"docs/GUARANTEES.md: say what {name} means"
        tests = tests_naming(root, name)
        if not tests:
            yield f"tests: break {name} on purpose and see it refused"
        elif "not yet" in rows[name][2] or not set(PATH.findall(rows[name][2])) <= set(tests):
            yield f"docs/GUARANTEES.md: a breach of {name} is noticed by {', '.join(tests)}"
    for name in sorted(rows.keys() - asserted.keys()):
        yield f"docs/GUARANTEES.md: {name} is asserted nowhere; assert it or take it out"


def concepts(root: Path) -> list[Path]:
    """Return the server's modules that docs/ARCHITECTURE.md lists."""
    return [
        path
        for path in sources(root)
        if path.parts[0] in SERVER and path.name not in {"__init__.py", "__main__.py"}
    ]


def check_architecture(root: Path) -> Iterator[str]:
    """Yield the modules that the tree and docs/ARCHITECTURE.md do not share."""
    listed = set(FILE_ROW.findall((root / "docs/ARCHITECTURE.md").read_text()))
    for path in concepts(root):
        if path.as_posix() not in listed:
            row = "`python -m tools.tidy --missing` prints its row"
            yield f"docs/ARCHITECTURE.md: add {path.as_posix()}; {row}"


def check_errors(root: Path) -> Iterator[str]:
    """Yield the error codes that the reference does not explain, once there is one."""
    page, table = root / "docs/reference/errors.md", root / "model/errors.py"
    if not page.exists() or not table.exists():
        return
    documented = page.read_text()
    for node in ast.walk(ast.parse(table.read_text())):
        if isinstance(node, ast.ClassDef) and node.name == "ErrorCode":
            names = [
                target.id
                for line in node.body
                if isinstance(line, ast.Assign)
                for target in line.targets
                if isinstance(target, ast.Name)
            ]
            for name in names:
                if f"`{name}`" not in documented:
                    yield f"docs/reference/errors.md: {name} is missing; run make docs"


def check_document(root: Path, path: Path) -> Iterator[str]:
    """Yield what is wrong with one Markdown file."""
    where, text = path.relative_to(root), FENCE.sub("", path.read_text())
    if len(re.findall(r"^# ", text, flags=re.MULTILINE)) != 1:
        yield f"{where}: give it exactly one '# Title'"
    targets = LINK.findall(text)
    for target in targets:
        if not (path.parent / target).exists():
            yield f"{where}: link to {target}, which does not exist"
    for target in sorted(set(PATH.findall(text))):
        if not (root / target).exists():
            yield f"{where}: names {target}, which does not exist"
    vectors = [target for target in targets if "tests/data/" in target]
    if path.parent == root / "docs/formats" and not vectors:
        yield f"{where}: link to its byte vectors under tests/data/"


def documents(root: Path) -> list[Path]:
    """Return the Markdown files that people read."""
    top = [root / f"{name}.md" for name in DOCUMENTS]
    return [path for path in top if path.exists()] + sorted((root / "docs").rglob("*.md"))


def findings(root: Path) -> Iterator[str]:
    """Yield everything that is wrong with a tree."""
    for where in sources(root):
        text = (root / where).read_text()
        yield from check_source(where, ast.parse(text), lines=text.count("\n"))
    yield from check_guarantees(root)
    yield from check_architecture(root)
    yield from check_errors(root)
    for path in documents(root):
        yield from check_document(root, path)


def missing(root: Path) -> Iterator[str]:
    """Yield the rows that docs/ARCHITECTURE.md and docs/GUARANTEES.md lack or have wrong."""
    listed = set(FILE_ROW.findall((root / "docs/ARCHITECTURE.md").read_text()))
    for path in concepts(root):
        if path.as_posix() not in listed:
            about = ast.get_docstring(ast.parse((root / path).read_text())) or "…"
            yield f"| `{path.as_posix()}` | {about.splitlines()[0]} |"
    rows = {name: cells for name, *cells in ROW.findall((root / "docs/GUARANTEES.md").read_text())}
    wrong = {finding.split(" ", 1)[1] for finding in check_guarantees(root)}
    for name, files in sorted(assertions(root).items()):
        if any(name in finding.replace(";", " ").split() for finding in wrong):
            statement = rows[name][0].strip() if name in rows else "…"
            where = ", ".join(f"`{file}`" for file in sorted(files))
            tests = ", ".join(f"`{file}`" for file in tests_naming(root, name)) or "*not yet*"
            yield f"| `{name}` | {statement} | {where} | {tests} |"


def main(arguments: list[str]) -> int:
    """Print every finding and fail if there is one; with --missing print rows instead."""
    if arguments == ["--missing"]:
        sys.stdout.writelines(f"{row}\n" for row in missing(ROOT))
        return 0
    found = list(findings(ROOT))
    sys.stdout.writelines(f"{finding}\n" for finding in found)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

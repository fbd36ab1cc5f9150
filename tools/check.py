"""`make check`: every gate in turn, to the end, so that one run names everything that is wrong."""

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PYTHON: Final = sys.executable


def script(name: str) -> str:
    """Return the path of a command that a package installed beside this Python."""
    return str(Path(PYTHON).with_name(name))


GATES: Final = (
    (PYTHON, "-m", "ruff", "format", "--check", "."),
    (PYTHON, "-m", "ruff", "check", "."),
    (PYTHON, "-m", "mypy"),
    (script("lint-imports"),),
    (PYTHON, "-m", "tools.tidy"),
    (PYTHON, "-m", "codespell_lib"),
)


def generators(root: Path) -> list[tuple[str, ...]]:
    """Return the gates of generated files: `tools/gen_*.py --check` fails if one is not fresh."""
    names = sorted(path.stem for path in (root / "tools").glob("gen_*.py"))
    return [(PYTHON, "-m", f"tools.{name}", "--check") for name in names]


def main() -> int:
    """Run the gates; fail if one failed."""
    failed = []
    for gate in (*GATES, *generators(ROOT)):
        shown = " ".join([Path(gate[0]).name, *gate[1:]])
        sys.stdout.write(f"== {shown}\n")
        sys.stdout.flush()
        if subprocess.run(gate, cwd=ROOT, check=False).returncode:
            failed.append(shown)
    for shown in failed:
        sys.stdout.write(f"failed: {shown}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The SDK as its users' type checkers see it: mypy --strict on their programs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fenced import blocks

PROGRAMS = Path(__file__).parent / "programs"
ROOT = PROGRAMS.parents[2]
EXPECTED = re.compile(r"# E: ([\w-]+)$")


def mypy(tmp_path: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    """Check files as a user would: strictly, with a configuration of their own."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    command += ["--follow-imports=silent"]  # as for an installed package
    return subprocess.run(
        [*command, f"--cache-dir={tmp_path / 'cache'}", *map(str, files)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_good_programs_pass(tmp_path: Path) -> None:
    programs = [PROGRAMS / "readme.py", *sorted((ROOT / "examples").glob("*.py"))]
    for page in ("README.md", "docs/tutorial.md"):
        for number, (language, text) in enumerate(blocks((ROOT / page).read_text())):
            if language == "python":
                programs.append(tmp_path / f"{Path(page).stem}_{number}.py")
                programs[-1].write_text(text)
    done = mypy(tmp_path, *programs)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


@pytest.mark.slow
def test_wrong_programs_are_refused_where_they_are_wrong(tmp_path: Path) -> None:
    program = tmp_path / "wrong.py"
    shutil.copy(PROGRAMS / "wrong.txt", program)
    done = mypy(tmp_path, program)
    found = set()
    for line in done.stdout.splitlines():
        if parsed := re.match(r".*wrong\.py:(\d+): error: .*\[([\w-]+)\]$", line):
            found.add((int(parsed[1]), parsed[2]))
    wanted = {
        (number, mark[1])
        for number, line in enumerate(program.read_text().splitlines(), 1)
        if (mark := EXPECTED.search(line))
    }
    assert found == wanted

"""`make lock`: write requirements/*.txt, the versions and hashes that `dev.py` installs.

One resolution covers everything, so that no two files disagree; each file then lists only what its
purpose adds. Markers make one file serve every Python and platform. The files carry no address:
where packages come from is the machine's business. Needs `uv` on the path.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "requirements"
OLDEST_PYTHON: Final = "3.11"
# What builds the tree itself and the one package without wheels; pip also fetches the demo's data.
BUILD: Final = "hatchling>=1.27\npip>=25.1\nsetuptools>=80\n"
HEADER: Final = "# Written by `make lock`. {purpose}\n"
START: Final = re.compile(r"^(?=[A-Za-z0-9])", flags=re.MULTILINE)

# file: its purpose, what uv resolves, and the files whose packages it need not repeat
LOCKS: Final[dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    "build": ("Installed first.", (), ()),
    "run": ("A node and its client.", ("--extra", "server"), ()),
    "speed": ("Each where a wheel exists.", ("--extra", "speed"), ("run",)),
    "test": ("The tests.", ("--extra", "test"), ("run",)),
    "clients": ("Each where a wheel exists.", ("--group", "clients"), ("run", "test")),
    "check": ("Linters, types, generators.", ("--group", "check"), ("run", "test", "build")),
}


def resolved(*arguments: str, also: str = "", hashes: bool = True) -> str:
    """Return what uv pins, for the project with `arguments` or for the requirements in `also`."""
    source = ["-"] if also else ["pyproject.toml"]
    command = ["uv", "pip", "compile", *source, *arguments, "--quiet", "--universal"]
    command += ["--python-version", OLDEST_PYTHON, "--no-header", "--no-annotate"]
    command += ["--no-emit-package", "tidelog", "--no-emit-index-url", "--no-emit-find-links"]
    command += ["--generate-hashes"] if hashes else []
    done = subprocess.run(
        command, cwd=ROOT, input=also, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"error: uv could not resolve\n{done.stderr}")
    return done.stdout


def entries(text: str) -> dict[str, str]:
    """Return the entries of a requirements file, each with its hashes, by package."""
    blocks = [block for block in START.split(text) if block and not block.startswith("#")]
    return {block.partition("==")[0]: block for block in blocks}


def main() -> int:
    """Resolve once, then write each file from that resolution."""
    if shutil.which("uv") is None:
        sys.stderr.write("error: `uv` is not on the path\nhint: pip install uv\n")
        return 2
    everything = resolved("--all-extras", "--group", "check", "--group", "clients", hashes=False)
    pins = FOLDER / "pins.tmp"
    pins.write_text(everything)
    try:
        written: dict[str, dict[str, str]] = {}
        for name, (purpose, arguments, known) in LOCKS.items():
            also = BUILD if name == "build" else ""
            got = entries(resolved(*arguments, "--constraints", str(pins), also=also))
            for other in known:
                got = {package: got[package] for package in got if package not in written[other]}
            written[name] = got
            text = HEADER.format(purpose=purpose) + "".join(got.values())
            (FOLDER / f"{name}.txt").write_text(text)
    finally:
        pins.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

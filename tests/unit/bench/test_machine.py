"""What the bench does to the machine before a run."""

import os
from pathlib import Path

import pytest

from bench.bulk import Run, _run
from bench.machine import lend_memory
from bench.server import Running


def _written_bytes() -> int:
    """Return what this process has handed to write calls (proc(5), wchar)."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def test_memory_is_lent_by_a_file_that_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DIR", str(tmp_path))
    before = _written_bytes()
    lend_memory(5_000_000)
    assert _written_bytes() - before >= 5_000_000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "name"), [("produce", "tidelog"), ("produce", "kafka"), ("consume", "kafka")]
)
def test_each_bulk_run_has_what_it_moves_lent_before(
    verb: str, name: str, *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DIR", str(tmp_path))
    client = tmp_path / "client"
    client.write_text("#!/bin/sh\necho '{\"seconds\": 2}'\n")
    client.chmod(0o700)
    before = _written_bytes()
    run = _run(
        client,
        Running(name, os.getpid(), "127.0.0.1:9"),
        (verb, "topic", 1, 4_000, 1_000),
        settings=(),
    )
    assert isinstance(run, Run)
    assert run.rate == 2_000
    assert _written_bytes() - before >= 4_000_000

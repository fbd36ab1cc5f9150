"""A process that outlives its starter is found again, signalled and waited for, and no other."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from api.cli.local_process import (
    Launch,
    Process,
    Standing,
    Watched,
    ended,
    held,
    identified,
    send,
    standing,
)

SOON_S = 20.0
WAITS = 'echo "said so"; echo ready >&3; read line <"$1"'
"""A program that is ready, and then waits for a line that never comes."""


class Started:
    """One process, and where its traces are."""

    def __init__(self, folder: Path, script: str = WAITS) -> None:
        fifo = folder / "fifo"
        os.mkfifo(fifo)
        self.log, self.exit_file = folder / "log", folder / "exit"
        command = ["/bin/sh", "-c", script, "sh", str(fifo)]
        self.launch = Launch(command, os.environ, log=self.log, exit_file=self.exit_file)

    async def ready(self) -> Watched:
        watched = await self.launch.watched()
        assert watched is not None
        assert await self.launch.line() == "ready"
        return watched


async def test_a_process_tells_that_it_is_ready_and_has_a_session_of_its_own(
    tmp_path: Path,
) -> None:
    started = Started(tmp_path)
    watched = await started.ready()
    assert standing(watched.process) is Standing.RUNNING
    assert os.getsid(watched.process.pid) != os.getsid(0)
    assert started.log.read_text() == "said so\n"
    assert send(watched.process, signal.SIGTERM)
    assert await ended(watched, SOON_S)
    assert await started.launch.line() is None
    started.launch.close()


@pytest.mark.parametrize(
    ("script", "number", "code"),
    [
        (WAITS, signal.SIGTERM, "143"),
        (WAITS, signal.SIGKILL, "137"),
        (f"trap 'exit 12' TERM; {WAITS}", signal.SIGTERM, "12"),
    ],
)
async def test_how_it_ended_is_written_down_by_the_time_that_its_end_is_told(
    tmp_path: Path, script: str, number: signal.Signals, *, code: str
) -> None:
    started = Started(tmp_path, script)
    watched = await started.ready()
    started.launch.close()
    assert not started.exit_file.exists()
    assert send(watched.process, number)
    assert await ended(watched, SOON_S)
    assert started.exit_file.read_text().strip() == code
    assert standing(watched.process) is Standing.GONE


async def test_one_that_ends_before_it_is_ready_is_heard_of(tmp_path: Path) -> None:
    started = Started(tmp_path, "echo no >&2; exit 10")
    await started.launch.watched()
    assert await started.launch.line() is None
    started.launch.close()
    assert started.exit_file.read_text().strip() == "10"
    assert started.log.read_text() == "no\n"


async def test_a_number_that_was_used_again_is_another_process(tmp_path: Path) -> None:
    """The process that has the number now must not be signalled for the one that had it."""
    started = Started(tmp_path)
    watched = await started.ready()
    boot, _, ticks = watched.process.began.partition("/")
    earlier = replace(watched.process, began=f"{boot}/{int(ticks) - 1}")
    assert standing(earlier) is Standing.GONE
    assert not send(earlier, signal.SIGKILL)
    assert await ended(Watched(earlier, earlier), SOON_S)
    assert standing(watched.process) is Standing.RUNNING
    assert send(watched.process, signal.SIGKILL)
    assert await ended(watched, SOON_S)
    started.launch.close()


async def test_one_that_stands_still_is_told_apart_and_does_not_end(tmp_path: Path) -> None:
    started = Started(tmp_path)
    watched = await started.ready()
    started.launch.close()
    assert send(watched.process, signal.SIGSTOP)
    async with asyncio.timeout(SOON_S):
        while standing(watched.process) is not Standing.PAUSED:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)
    assert send(watched.process, signal.SIGTERM)
    assert not await ended(watched, 0.0)
    assert send(watched.process, signal.SIGCONT)
    assert await ended(watched, SOON_S)


def test_of_a_process_that_never_was_there_is_nothing_to_hold() -> None:
    beyond = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    assert identified(beyond) is None
    with held(Process(beyond, "0")) as descriptor:
        assert descriptor is None


def test_this_very_process_is_known_by_its_number_and_its_beginning() -> None:
    this = identified(os.getpid())
    assert this is not None
    assert this == identified(os.getpid())
    assert standing(this) is Standing.RUNNING

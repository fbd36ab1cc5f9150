"""What a start of local nodes leaves behind that is interrupted, refused or only tried."""

import asyncio
import fcntl
import os
import socket
from pathlib import Path
from typing import Any, ClassVar

import pytest

from api.cli import local_nodes
from api.cli.local_ports import HOST, any_free
from api.cli.local_process import Process, Watched
from api.cli.local_state import Home, LocalCluster, LocalNode
from tests.cli_runner import Ran, run_here
from tidelog.cli.failure import CommandFailed


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(str(tmp_path / "local"))
    first = any_free([])
    nodes = (LocalNode(1, first), LocalNode(2, any_free(first.by_name.values())))
    with made.locked():
        made.write(LocalCluster("demo", nodes, founders=2))
    return made


class Launched:
    """Stands for the launch of a node, whose number is heard when the test says so."""

    made: ClassVar["list[Launched]"] = []

    def __init__(self, *_: Any, **__: Any) -> None:
        self.heard = asyncio.Event()
        self.pid = len(self.made) + 1_000
        self.made.append(self)

    async def watched(self) -> Watched:
        await self.heard.wait()
        return Watched(Process(self.pid, "boot/1"), Process(1, "boot/1"))

    async def line(self) -> None:
        await asyncio.Event().wait()

    def close(self) -> None:
        self.heard.set()


async def spun() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_interrupted_start_knows_every_process_that_it_has_started(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would hold their ports, and no command could end them."""
    monkeypatch.setattr(Launched, "made", [])
    monkeypatch.setattr(local_nodes, "Launch", Launched)
    cluster = home.expect()
    starting = asyncio.ensure_future(
        local_nodes.start(home, cluster, cluster.nodes, environment={}, timeout_s=60)
    )
    await spun()
    Launched.made[0].heard.set()
    await spun()
    assert len(Launched.made) == 2
    starting.cancel()
    await spun()
    Launched.made[1].heard.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    known = [one.process.process.pid for one in home.expect().nodes if one.process is not None]
    assert known == [1_000, 1_001]


def dry_run(home: Home) -> Ran:
    command = ("local", "start", "--dry-run", "--data", home.shown)
    return run_here(command, {**os.environ, "XDG_CONFIG_HOME": "/nonexistent"}, b"")


def test_a_dry_run_says_which_nodes_it_would_start(home: Home) -> None:
    ran = dry_run(home)
    assert (ran.code, "would start node 1, 2" in ran.stderr) == (0, True)


def test_a_dry_run_refuses_ports_that_the_start_would_refuse(home: Home) -> None:
    with socket.socket() as other:
        other.bind((HOST, home.expect().nodes[1].ports.http))
        other.listen()
        ran = dry_run(home)
    assert (ran.code, "http of node 2" in ran.stderr) == (10, True)


def test_a_lock_that_a_purge_has_deleted_holds_nobody_away(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was opened before, and had once the purge was over."""
    honest, purges = fcntl.flock, [home._lock]

    def flock(file: Any, operation: int) -> None:
        while purges:
            purges.pop().unlink()
        honest(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with home.locked():
        assert home._lock.exists()
        with pytest.raises(CommandFailed, match="at work"), Home(home.shown).locked():
            pass

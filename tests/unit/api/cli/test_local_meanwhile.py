"""What another terminal starts while a question stands is not taken for stopped."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from api.cli.local_ports import fixed
from api.cli.local_process import Watched, identified
from api.cli.local_state import Home, LocalCluster, LocalNode
from tests.cli_runner import Ran, run_here
from tidelog.cli.run import Run

SOON_S = 20
NODES = tuple(LocalNode(number, fixed(number)) for number in (1, 2))


class Elsewhere:
    """The other terminal: starts a process for node 1, or adds a node."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.processes: list[subprocess.Popen[bytes]] = []

    def starts(self) -> None:
        process = subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE)
        self.processes.append(process)
        found = identified(process.pid)
        assert found is not None
        cluster = self.home.expect()
        one = replace(cluster.nodes[0], process=Watched(found, found))
        self.home.write(replace(cluster, nodes=(one, *cluster.nodes[1:])))

    def adds(self) -> None:
        cluster = self.home.expect()
        self.home.write(replace(cluster, nodes=(*cluster.nodes, LocalNode(3, fixed(3)))))

    def runs(self) -> bool:
        return self.processes[0].poll() is None


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    home = Home(str(tmp_path / "local"))
    with home.locked():
        home.write(LocalCluster("demo", NODES, founders=2))
    for one in NODES:
        home.data(one.number).mkdir()
    other = Elsewhere(home)
    yield other
    for process in other.processes:
        process.kill()
        process.communicate()


def local(home: Home, *words: str) -> Ran:
    command = ("local", *words, "--data", home.shown, "-F", "json")
    return run_here(command, {**os.environ, "XDG_CONFIG_HOME": "/nonexistent"}, b"")


def test_a_node_that_began_while_the_question_stood_keeps_its_data(elsewhere: Elsewhere) -> None:
    home = elsewhere.home
    with patch.object(Run, "confirm", lambda *_, **__: elsewhere.starts()):
        ran = local(home, "purge")
    assert (ran.code, "still running: node 1" in ran.stderr) == (3, True)
    assert elsewhere.runs()
    assert all(home.data(one.number).exists() for one in home.expect().nodes)


def test_it_is_stopped_first_where_that_was_asked_for(elsewhere: Elsewhere) -> None:
    home = elsewhere.home
    with patch.object(Run, "confirm", lambda *_, **__: elsewhere.starts()):
        ran = local(home, "purge", "--stop")
    assert ran.code == 0, ran.stderr
    assert elsewhere.processes[0].wait(SOON_S) == -signal.SIGTERM
    assert not home.path.exists()


def test_a_node_that_nobody_was_asked_about_is_not_deleted(elsewhere: Elsewhere) -> None:
    home = elsewhere.home
    with patch.object(Run, "confirm", lambda *_, **__: elsewhere.adds()):
        ran = local(home, "purge")
    assert (ran.code, "has 3 nodes by now" in ran.stderr) == (3, True)
    assert all(home.data(one.number).exists() for one in NODES)


def test_stop_ends_what_began_before_it_had_its_turn(elsewhere: Elsewhere) -> None:
    home, locked = elsewhere.home, Home.locked

    @contextmanager
    def late(self: Home) -> Iterator[None]:
        elsewhere.starts()
        with locked(self):
            yield

    with patch.object(Home, "locked", late):
        ran = local(home, "stop", "--kill")
    assert elsewhere.processes[0].wait(SOON_S) == -signal.SIGKILL
    assert [row["changed"] for row in ran.items] == [True, False]

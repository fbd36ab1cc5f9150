"""The contract's fixtures: each test runs in this process, and over the network."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

import tidelog
from tests.contract.place import T0, Place
from tidelog import testing

ROOT = Path(__file__).parents[2]
STOP_S = 60
_numbers = count()


@pytest.fixture(scope="session")
def node_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run `tidelog serve` on a free port, on real files."""
    told, tell = os.pipe()
    settings = {
        "node.data_dir": str(tmp_path_factory.mktemp("contract") / "data"),
        "log.journal_file_bytes": "4MiB",
        "listeners.grpc.bind": "127.0.0.1:0",
        "listeners.kafka.bind": "none",
        "listeners.http.bind": "none",
    }
    overrides = [word for pair in settings.items() for word in ("-X", "=".join(pair))]
    command = [sys.executable, "-m", "tidelog", "serve", "--ready-fd", str(tell), *overrides]
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=(tell,), stderr=subprocess.DEVNULL)
    os.close(tell)
    with os.fdopen(told) as ready:
        ports = json.loads(ready.read())
    yield f"tidelog://127.0.0.1:{ports['grpc']}"
    process.terminate()
    assert process.wait(STOP_S) == 0


@pytest.fixture(params=["in-process", "network"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Give a node with a manual clock, or the one that all tests share."""
    prefix = f"t{next(_numbers)}"
    if request.param == "network":
        url = request.getfixturevalue("node_url")
        async with tidelog.connect(url) as client:
            yield Place(client, url, prefix, None)
        return
    async with testing.broker(clock=testing.ManualClock(T0)) as broker:
        yield Place(broker.client, broker.url, prefix, broker)

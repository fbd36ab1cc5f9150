"""When the process of a node looks for garbage, and that a test's own process does not."""

import gc
import json
import subprocess
import sys
from pathlib import Path

from api.node.system_garbage import THRESHOLDS
from tidelog import testing

ROOT = Path(__file__).parents[2]
END_S = 60
A_NODE = """
import asyncio, gc, json, sys
from api.config_file import load
from api.main import run_node

class Audience:
    async def started(self, node):
        self.before = gc.get_threshold(), gc.get_freeze_count()

    def ready(self, node, addresses, stop):
        self.task = asyncio.ensure_future(self.watch(stop))

    async def watch(self, stop):
        try:
            async with asyncio.timeout(30):
                while not gc.get_freeze_count():
                    await asyncio.sleep(0.01)
        finally:
            print(json.dumps([self.before, (gc.get_threshold(), gc.get_freeze_count())]))
            stop()

listeners = [f"listeners.{door}.bind=127.0.0.1:0" for door in ("grpc", "kafka", "http")]
loaded = load(overrides=[f"node.data_dir={sys.argv[1]}", "log.journal_file_bytes=4MiB", *listeners])
sys.exit(run_node(loaded, version="test", audience=Audience()))
"""


def test_a_served_node_looks_seldom_and_not_at_what_its_start_has_made(tmp_path: Path) -> None:
    command = [sys.executable, "-c", A_NODE, str(tmp_path / "data")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=END_S, check=False
    )
    assert done.returncode == 0, done.stderr
    (_, frozen_before), (thresholds, frozen) = json.loads(done.stdout)
    assert frozen_before == 0
    assert tuple(thresholds) == THRESHOLDS
    assert frozen > 10_000


async def test_a_broker_in_a_test_leaves_the_collector_of_its_process_alone() -> None:
    before = gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()
    async with testing.broker(ports=True) as broker:
        await broker.client.topics.create("orders")
        assert (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()) == before
    assert (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()) == before

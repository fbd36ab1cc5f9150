"""P28: what a killed node has acknowledged of groups is there when it comes back."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from cluster.state_partition.layout import PARTITIONS
from tests.group_child import GROUPS, SETTINGS
from tests.group_state import commit, committed
from tests.one_node import one_node

ROOT = Path(__file__).parents[2]
ACKS_BEFORE_KILLS = (1, 137, 650)


def killed_after(directory: Path, acks: int) -> dict[str, int]:
    """Run a node until so many commits were acknowledged, kill it, return the last of each."""
    command = [sys.executable, "-m", "tests.group_child", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acks)]
        child.kill()
        lines += child.stdout.readlines()
    told = [line.split() for line in lines if line.endswith("\n")]
    return {group: int(offset) for group, offset in told}


async def _found(directory: Path, groups: Iterable[str], number: int) -> dict[str, int]:
    """Start a node in this process; return what it knows of the groups' partition."""
    async with one_node(directory, *SETTINGS) as one:
        state = one.node.broker.groups_state
        return {group: await committed(state, group, number) or 0 for group in groups}


def found(directory: Path, groups: Iterable[str], number: int = 0) -> dict[str, int]:
    """Return what `_found` returns, once nothing of its node is left: it holds the lock."""
    told = asyncio.run(_found(directory, groups, number))
    gc.collect()
    return told


def test_a_killed_node_comes_back_with_every_acknowledged_commit(tmp_path: Path) -> None:
    acked = dict.fromkeys(GROUPS, 0)
    for acks in ACKS_BEFORE_KILLS:
        acked |= killed_after(tmp_path, acks)
        assert sum(acked.values()) >= acks
        kept = found(tmp_path, GROUPS)
        for group, least in acked.items():
            assert least <= kept[group] <= least + 1, "one may be under way"
        acked = kept
    assert any(tmp_path.rglob("*.state"))


async def _written(directory: Path, groups: Iterable[str]) -> None:
    async with one_node(directory) as one:
        for group in groups:
            await commit(one.node.broker.groups_state, group, 7, partitions=10)


@pytest.mark.slow
def test_ten_thousand_groups_are_back_after_a_restart(tmp_path: Path) -> None:
    """P54: the limit of groups, some of them in snapshots, all of them in order."""
    groups = [f"group-{number:05d}" for number in range(10_000)]
    asyncio.run(_written(tmp_path, groups))
    gc.collect()
    snapshots = len(list(tmp_path.rglob("*.state")))
    assert PARTITIONS <= snapshots <= 2 * PARTITIONS  # the older one too, as long as it is kept
    assert found(tmp_path, groups, 9) == dict.fromkeys(groups, 7)

"""An operator before three processes: looks, hands a leadership over, loses a node, waits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli_runner import Ran, run_here
from tests.cluster.processes import Processes

HEALTHY = ("cluster", "health", "--exit-when-healthy", "--within", "60")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


class Operator:
    """The command line, pointed at some of the nodes."""

    def __init__(self, processes: Processes, *numbers: int) -> None:
        doors = [processes.nodes[number].doors.grpc for number in numbers]
        self.environment = {"TIDELOG_CLIENT__ADDRESS": ",".join(doors), "HOME": "/nonexistent"}

    def __call__(self, *words: str) -> Ran:
        return run_here(words, self.environment, b"")

    def one(self, *words: str) -> dict[str, object]:
        """Return the only item that a command tells."""
        ran = self(*words, "-F", "json")
        assert ran.json["errors"] == [], ran.stderr
        (item,) = ran.items
        return item


def looks(processes: Processes, every: Operator) -> None:
    """Each node shows the same nodes and voters; what would cost a vote asks."""
    for number in (1, 2, 3):
        node = Operator(processes, number)
        info = node("cluster", "info", "-F", "json")
        assert [(row["node"], row["state"]) for row in info.items] == [
            (1, "running"), (2, "running"), (3, "running"),
        ]  # fmt: skip
        assert sum(row["controller"] for row in info.items) == 1
        assert [row["grpc"] for row in info.items] == [
            one.doors.grpc for one in processes.nodes.values()
        ]
        quorum = node("quorum", "status", "-F", "json").items
        assert [(row["node"], row["role"] in {"leader", "voter"}) for row in quorum] == [
            (1, True), (2, True), (3, True),
        ]  # fmt: skip
    asked = every("quorum", "remove", "3")
    assert (asked.code, asked.out) == (2, "")
    assert "This takes the vote of node 3. Then 1, 2 would vote, 2 of them decide" in asked.stderr
    assert "pass --yes to do it, or --dry-run to only look" in asked.stderr
    looked = every.one("quorum", "remove", "3", "--dry-run")
    assert looked == {"node": 3, "voters": [1, 2], "majority": 2, "changed": False}


def hands_over(every: Operator) -> int:
    """Give the leadership of a partition to another node; return which."""
    before = every.one("partition", "status", "orders/0")
    target = next(node for node in (1, 2, 3) if node != before["leader"])
    moved = every("partition", "transfer-leader", "orders/0", "--to", str(target))
    assert moved.code == 0, moved.stderr
    after = every.one("partition", "status", "orders/0")
    assert after["leader"] == target
    assert after["epoch"] == int(str(before["epoch"])) + 1
    return target


def sees_who_is_missing(left: Operator, target: int) -> None:
    """It is told who is gone, what that means, and what cannot be done meanwhile."""
    gone = f"node {target} is fenced"
    watched = left("cluster", "health", "--watch", "--within", "10")
    assert gone in watched.out, watched.out
    seen = left("cluster", "health")
    assert seen.code == 1, seen.out + seen.stderr
    assert seen.lines[0].startswith("degraded: cluster tide, 2 of 3 nodes running")
    assert gone in seen.out
    assert f"the controller quorum lacks node {target} of its 3 voters" in seen.out
    moved_on = left.one("partition", "status", "orders/0")
    assert moved_on["leader"] not in {None, target}
    assert moved_on["missing"] == [target]
    refused = left("partition", "transfer-leader", "orders/0", "--to", str(target))
    assert (refused.code, "(NO_ELIGIBLE_LEADER)" in refused.stderr) == (1, True)
    vote = next(number for number in (1, 2, 3) if number != target)
    kept = left("quorum", "remove", str(vote), "--yes")
    assert (kept.code, "(POLICY_VIOLATION)" in kept.stderr) == (1, True), kept.stderr


@pytest.mark.slow
def test_what_an_operator_sees_and_does(processes: Processes) -> None:
    every = Operator(processes, 1, 2, 3)
    assert every("topic", "create", "orders", "-p", "3").code == 0
    assert every(*HEALTHY).code == 0
    looks(processes, every)
    target = hands_over(every)
    processes.nodes[target].kill()
    left = Operator(processes, *(number for number in (1, 2, 3) if number != target))
    sees_who_is_missing(left, target)
    processes.start([target])
    waited = left(*HEALTHY)
    assert (waited.code, waited.lines[0].split(":")[0]) == (0, "healthy"), waited.out
    assert left.one("partition", "status", "orders/0")["missing"] == []

"""What people are told of a cluster that is not as it should be, as scripts over the controller."""

from pathlib import Path

import pytest

from api.broker.health import SENTENCES_MAX, Status, faults_of, verdict
from cluster.controller.quorum_status import QuorumMember, QuorumStatus
from model.ids import Index, NodeId, Term
from tests.controller_bench import Bench
from tests.datadriven import Command, run_script


class HealthBench(Bench):
    """A controller's machine, and the verdict on what it holds."""

    def execute(self, command: Command) -> str:
        if command.name != "health":
            return super().execute(command)
        given = command.arguments
        unheard = nodes_of(given.get("unheard", ""))
        judged = verdict(
            self.image,
            quorum_of(nodes_of(given.get("voters", "1+2+3")), unheard),
            faults_of(self.image),
            controller=None if given.get("controller") == "none" else NodeId(1),
            own=[given["own"]] if "own" in given else [],
        )
        return "\n".join([judged.status.name, *judged.reasons])


def nodes_of(text: str) -> list[NodeId]:
    return [NodeId(int(one)) for one in text.split("+") if one]


def quorum_of(voters: list[NodeId], unheard: list[NodeId]) -> QuorumStatus:
    return QuorumStatus(
        Term(1),
        None,
        Index(1),
        tuple(
            QuorumMember(one, bytes([one]) * 16, votes=True, is_heard=one not in unheard)
            for one in voters
        ),
    )


@pytest.mark.parametrize("script", ["nodes", "leaderless", "quorum"])
def test_script(script: str, scripts: Path, rewrite: bool) -> None:
    run_script(scripts / f"health/{script}.txt", HealthBench().execute, rewrite=rewrite)


def test_partitions_that_lack_the_same_share_a_sentence() -> None:
    bench = HealthBench()
    for node in (1, 2, 3):
        bench.execute(Command("register", {"node": str(node)}))
    bench.execute(Command("create", {"name": "wide", "partitions": "500", "replicas": "3"}))
    bench.execute(Command("stand", {"nodes": "3", "as": "fenced"}))
    judged = verdict(bench.image, quorum_of([], []), faults_of(bench.image), controller=NodeId(1))
    assert judged.status is Status.DEGRADED
    assert len(judged.faults.under_replicated) == 500
    assert [one for one in judged.reasons if one.startswith("wide/")] == [
        "wide/0, wide/1, wide/2 and 497 more lack an in-sync replica on node 3"
    ]


def test_no_fault_makes_more_sentences_than_anybody_reads() -> None:
    bench = HealthBench()
    for node in range(1, 26):
        bench.execute(Command("register", {"node": str(node)}))
    for node in range(1, 26):
        bench.execute(Command("create", {"name": f"t{node}", "on": str(node)}))
    everybody = "+".join(map(str, range(1, 26)))
    bench.execute(Command("stand", {"nodes": everybody, "as": "fenced"}))
    judged = verdict(bench.image, quorum_of([], []), faults_of(bench.image), controller=NodeId(1))
    told = [one for one in judged.reasons if "no leader" in one]
    assert len(told) == SENTENCES_MAX + 1
    assert told[-1] == "5 more partitions have no leader"

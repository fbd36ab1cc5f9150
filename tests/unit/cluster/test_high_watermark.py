"""The high watermark, told as a script."""

from pathlib import Path

from cluster.replication.high_watermark import CommitRule, Ends, Isr, high_watermark
from logstore.settings import Flush
from model.ids import NodeId, Offset
from tests.datadriven import Command, run_script


def nodes(text: str) -> frozenset[NodeId]:
    return frozenset(NodeId(int(node)) for node in text.split(","))


def execute(command: Command) -> str:
    """Run `mark ends=1:9/9/7,2:8/8/8 isr=1,2`; a node's ends are log/written/flushed."""
    arguments = {"min": "2", "flush": "quorum", "held": "0"} | command.arguments
    ends = {}
    for word in arguments["ends"].split(","):
        node, *parts = (int(part) for part in word.replace("/", ":").split(":"))
        ends[NodeId(node)] = Ends(*(Offset(part) for part in parts))
    isr = Isr(nodes(arguments["isr"]), nodes(arguments.get("pending", arguments["isr"])))
    rule = CommitRule(
        flush=Flush(arguments["flush"]),
        min_insync_replicas=int(arguments["min"]),
        replica_lag_ms_max=0,
    )
    try:
        return str(high_watermark(Offset(int(arguments["held"])), ends, isr=isr, rule=rule))
    except AssertionError as invariant:
        return f"refused: {invariant}"


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "high_watermark/views.txt", execute, rewrite=rewrite)

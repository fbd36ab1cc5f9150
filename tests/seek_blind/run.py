"""Send a live group to random times: `python -m tests.seek_blind.run --seeks 200 --seed 1`.

Two members consume and commit without a rest; the group is sent to times on both clocks: times that
occur, one millisecond beside them, before and behind everything. The event times go back and forth.
Each partition must go where a scan of a plain list finds the first record; no commit of the older
epoch survives; deliveries begin at the very place and go on without a gap.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from signal import SIGTERM, signal
from typing import Any, Final

from grpc import aio

from tests.kill.node_process import NodeProcess
from tests.seek_blind.campaign import CLOCKS, KINDS, Campaign, Outcome, Wish
from tests.seek_blind.history import PARTITIONS, TOPIC, History
from tidelog.v1 import log_service_pb2_grpc, topic_service_pb2, topic_service_pb2_grpc

SETTINGS: Final = (
    "cluster.state_snapshot_records=2000",
    "logging.format=json",
)
"""Snapshots of the group's state are made all the time."""
Topic: Any = topic_service_pb2.CreateTopicRequest


async def campaign(target: str, seeks: int, seed: int, *, say: Callable[[str], None]) -> Outcome:
    """Run on a node that listens at `target`."""
    rand = Random(seed)
    async with aio.insecure_channel(target) as channel:
        topics: Any = topic_service_pb2_grpc.TopicServiceStub(channel)
        await topics.CreateTopic(Topic(topic={"name": TOPIC, "partition_count": PARTITIONS}))
        logs = log_service_pb2_grpc.LogServiceStub(channel)
        history = History(logs, rand)
        return await Campaign(target, channel, history, rand=rand).run(seeks, say=say)


def run(seeks: int, seed: int, *, say: Callable[[str], None]) -> Outcome:
    """Run with a node of its own, in a folder that stays if something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="tidelog-seek-"))
    node = NodeProcess(folder / "data", SETTINGS, folder)
    try:
        node.start()
        outcome = asyncio.run(campaign(node.doors.grpc, seeks, seed, say=say))
    finally:
        node.close()
    outcome.account.problems += [f"the node printed: {line}" for line in node.odd_lines()[:3]]
    if outcome.account.problems:
        say(f"directory and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return outcome


def table(outcome: Outcome) -> str:
    """Return the outcome for people."""
    account, seeks = outcome.account, outcome.seeks
    rows = [f"{'seeks to a time that':<22}" + "".join(f"{clock:>8}" for clock in CLOCKS)]
    for kind in KINDS:
        counts = [seeks[Wish(clock, kind)] for clock in CLOCKS]
        rows.append(f"  {kind:<20}" + "".join(f"{count:>8}" for count in counts))
    by_clock = Counter({clock: 0 for clock in CLOCKS})
    for wish, count in seeks.items():
        by_clock[wish.clock] += count
    rows.append(f"  {'all':<20}" + "".join(f"{by_clock[clock]:>8}" for clock in CLOCKS))
    rows += [
        f"plans compared: {outcome.plans}; offsets listed before anybody was back: {outcome.held}; "
        f"rounds read to the end: {outcome.caught_up}",
        f"streams fenced: {account.fenced}; commits acknowledged (rows): {account.commits_acked}; "
        f"cut off by a seek: {account.commits_cut}; of an older epoch, refused: "
        f"{account.commits_late}",
        f"records delivered and compared: {account.delivered}",
    ]
    rows += [f"BROKEN: {problem}" for problem in account.problems]
    return "\n".join(rows) + "\n"


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Seek as often as asked; report."""
    parser = argparse.ArgumentParser(prog="make seek-blind", description=__doc__)
    parser.add_argument("--seeks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.seeks < 1:
        parser.error(f"--seeks is {options.seeks}; 1 at least")
    signal(SIGTERM, lambda *_: sys.exit(143))  # so that no node stays behind
    outcome = run(options.seeks, options.seed, say=say)
    bad = bool(outcome.account.problems)
    sys.stdout.write(table(outcome) + ("FAIL\n" if bad else "PASS\n"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A crowd of members under load: `python -m tests.chaos.run --seconds 600 --members 50 --seed 1`.

Members of one group leave in order, are cut off, go silent, break their stream and resume, and have
their process killed (SIGKILL), at random, while producers write. Then everybody comes back, reads
to the end, and leaves. What they wrote down is judged with the group's own log: every record is
delivered; commits never go back; one owner for a partition and epoch; a new owner begins at the
committed offset; what a stopped member held is served again in time; who stays is not disturbed.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from signal import SIGTERM, signal
from statistics import median
from typing import Any, Final

from grpc import aio

from tests.chaos.crowd import Crowd
from tests.chaos.journal import Journal, Wrong, now_ms, read_all
from tests.chaos.judge import Run, Verdict, judge
from tests.chaos.load import PRODUCERS, Load, monotonic_behind_ms
from tests.chaos.plan import GROUP, PARTITIONS, TOPIC
from tests.chaos.story import Story
from tests.chaos.times import CLOCK_MS
from tests.kill.node_process import ENDS_WITH_US, ROOT, NodeProcess
from tidelog.v1 import (
    common_pb2,
    group_service_pb2,
    group_service_pb2_grpc,
    topic_service_pb2,
    topic_service_pb2_grpc,
)

SETTINGS: Final = ("logging.format=json",)
BETWEEN_S: Final = 0.8
"""Mean time between two strikes."""
FIRST_S: Final = 4.0
"""Everybody may find a place before the first one."""
END_S_MAX: Final = 120.0
"""All is read and everybody gone within it."""
POLL_S: Final = 0.2
Create: Any = topic_service_pb2.CreateTopicRequest
Commit: Any = group_service_pb2.CommitOffsetsRequest


class Unfinished(Exception):  # noqa: N818 - says what happened
    """The crowd did not come to its end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how many, which seed."""

    seconds: float
    members: int
    seed: int


async def chaos(target: str, folder: Path, plan: Plan, *, say: Callable[[str], None]) -> Run:
    """Run on a node that listens at `target`; journals go to `folder`.

    Raises:
        Unfinished: something that must come did not.
    """
    journal = Journal(folder / "run.jsonl")
    behind_ms = monotonic_behind_ms()
    async with aio.insecure_channel(target) as channel:
        await _prepare(channel)
        load = Load(channel, journal.note)
        async with asyncio.TaskGroup() as tasks:
            crowd = Crowd(target, folder, Random(plan.seed), journal.note, tasks)
            try:
                beside = [tasks.create_task(load.read_log()), tasks.create_task(load.look())]
                producing = [tasks.create_task(load.produce(part)) for part in range(PRODUCERS)]
                await crowd.gather(plan.members)
                await _strikes(crowd, plan, say)
                load.stop_producing()
                await asyncio.wait(producing)
                try:
                    await _end(crowd, load)
                except Unfinished as missing:  # what there is tells why
                    journal.note(Wrong(now_ms(), "", str(missing)))
                for task in beside:
                    task.cancel()
            finally:
                await crowd.kill_all()
    journal.close()
    moved_ms = abs(monotonic_behind_ms() - behind_ms)
    if moved_ms > CLOCK_MS:
        raise Unfinished(f"the wall clock was set meanwhile, by {moved_ms:.0f} ms: run it again")
    return Run(read_all(folder), load.decisions, load.looks, load.ends, dict(crowd.strikes))


async def _prepare(channel: aio.Channel) -> None:
    """Create the topic, and have the coordinator's log come to be."""
    topics: Any = topic_service_pb2_grpc.TopicServiceStub(channel)
    await topics.CreateTopic(Create(topic={"name": TOPIC, "partition_count": PARTITIONS}))
    groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(channel)
    cursor = common_pb2.Cursor(topic=TOPIC, partition=0, offset=0)
    await groups.CommitOffsets(Commit(group=f"before-{GROUP}", cursors=[cursor]))


async def _strikes(crowd: Crowd, plan: Plan, say: Callable[[str], None]) -> None:
    await asyncio.sleep(FIRST_S)
    began = now_ms()
    told = 0
    while (passed := (now_ms() - began) / 1_000) < plan.seconds:
        if passed // 30 > told:
            told = int(passed // 30)
            say(f"{passed:.0f} s: {dict(crowd.strikes)}")
        crowd.strike()
        await asyncio.sleep(crowd.rand.expovariate(1 / BETWEEN_S))
    await crowd.settle()


async def _end(crowd: Crowd, load: Load) -> None:
    """Let everybody read to the end, and leave."""
    await _until(lambda: _all_read(load), "the end of all partitions")
    await crowd.disperse()
    await _until(lambda: _all_gone(load), "the last leave")
    await load.look_once()


def _all_read(load: Load) -> bool:
    offsets = load.looks[-1].offsets if load.looks else {}
    return all(offsets.get(number, 0) == end for number, end in enumerate(load.ends))


def _all_gone(load: Load) -> bool:
    story = Story()
    for decision in load.decisions:
        story.tell(decision)
    return story.members == 0


async def _until(holds: Callable[[], bool], what: str) -> None:
    until = now_ms() + END_S_MAX * 1_000
    while not holds():
        if now_ms() > until:
            raise Unfinished(f"{what} did not come in {END_S_MAX:.0f} s")
        await asyncio.sleep(POLL_S)


def run(plan: Plan, *, say: Callable[[str], None]) -> Verdict:
    """Run with a node of its own, in a folder that stays if something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="tidelog-chaos-"))
    node = NodeProcess(folder / "data", SETTINGS, folder)
    try:
        node.start()
        with _disk_watched(folder):
            verdict = judge(asyncio.run(chaos(node.doors.grpc, folder, plan, say=say)))
    except* (Unfinished, aio.AioRpcError) as broken:
        verdict = Verdict(problems=[str(one) for one in broken.exceptions])
    finally:
        node.close()
    verdict.problems += [f"the node printed: {line}" for line in node.odd_lines()[:3]]
    verdict.problems += [
        f"the node says: {event}"
        for event in node.events()
        if event["event"] in {"node_failed", "storage_failed"}
    ]
    if verdict.problems:
        (folder / "log.txt").write_text("\n".join(map(str, verdict.log)))
        say(f"directory and journals are in {folder}")
    else:
        shutil.rmtree(folder)
    return verdict


@contextmanager
def _disk_watched(folder: Path) -> Iterator[None]:
    """Have the disk under the node measured meanwhile."""
    command = [*ENDS_WITH_US, sys.executable, "-m", "tests.chaos.disk", str(folder)]
    with subprocess.Popen(command, cwd=ROOT) as watch:
        try:
            yield
            if watch.poll() is not None:
                raise Unfinished(f"the watch of the disk ended by itself, with {watch.returncode}")
        finally:
            watch.kill()


def table(verdict: Verdict) -> str:
    """Return the outcome for people."""
    times = verdict.times
    rows = [f"{what:<40}{count:>9}" for what, count in verdict.counts.items()]
    rows += [
        f"{'':<40}{'median':>9}{'worst':>9}  limit (ms)",
        _times("kill or cut: given to another in the log", times.given, ""),
        _times("kill or cut: served by another", times.killed, "3000"),
        _times("silence: served, after its session", times.silent, "1000"),
        _times("longest wait in what others kept", times.stalls, "1000"),
        f"new owner stopped too before it served   {times.superseded:>8}",
        f"longest standstill of members' processes {times.lag_ms:>8.0f} ms",
        f"longest sync of a byte beside the node   {times.disk_ms:>8.0f} ms",
        f"load of the machine, 5 minutes' average  {os.getloadavg()[1]:>8.1f}",
    ]
    rows += [f"BROKEN: {problem}" for problem in verdict.problems]
    return "\n".join(rows) + "\n"


def _times(what: str, measured: Sequence[float], limit: str) -> str:
    if not measured:
        return f"{what:<40}{'-':>9}{'-':>9}  {limit}"
    return f"{what:<40}{median(measured):>9.0f}{max(measured):>9.0f}  {limit}"


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Run as long as asked; report."""
    parser = argparse.ArgumentParser(prog="make groups-chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    signal(SIGTERM, lambda *_: sys.exit(143))  # so that no process stays behind
    plan = Plan(options.seconds, options.members, options.seed)
    verdict = run(plan, say=say)
    sys.stdout.write(table(verdict) + ("FAIL\n" if verdict.problems else "PASS\n"))
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

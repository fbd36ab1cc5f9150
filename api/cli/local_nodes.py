"""The nodes of `tidelog local`: started until they are ready, stopped, looked at."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from api.cli.local_plan import command_of, environment_of
from api.cli.local_process import Launch, Standing, ended, send
from api.cli.local_state import Home, LocalCluster, LocalNode, standing_of
from tidelog.cli.failure import CommandFailed, Exit
from tidelog.cli.http_probe import ask
from tidelog.clock import SystemClock

if TYPE_CHECKING:
    from tidelog.types import ClusterInfo

ResultT = TypeVar("ResultT")

STOP_S_MAX: Final = 30.0
"""A node takes 25 s at most; `docker compose` gives a container as long."""
REST_S: Final = 15.0
"""Once a node has ended, for the others: together with it they might never be ready."""
PROBE_MS: Final = 1_000
HTTP_OK: Final = 200
MAP_S: Final = 2.0
CLIENT: Final = "tidelog-local"
AGAIN_S: Final = 0.1
IN_ORDER: Final = frozenset({0, 128 + signal.SIGTERM})
"""Exit codes of a node that was told to stop; the second, before it had begun to listen for it."""
TAIL_BYTES: Final = 4_096
TAIL_LINES: Final = 8
REFUSALS: Final = frozenset(
    {Exit.CONFIGURATION, Exit.DIRECTORY_FAILED, Exit.FENCED, Exit.NEWER_FORMAT}
)
"""Exit codes of a node that the command passes on."""


class Seen(NamedTuple):
    """A node as it is now."""

    node: LocalNode
    state: str
    """running, paused, stopped (in order, or never started), crashed."""
    exit_code: int | None
    ready: bool
    found: "ClusterInfo | None"
    """The cluster as it sees it; None: it is not a part of it now, or does not answer."""
    detail: str
    """Why it is not ready."""


@dataclass(slots=True)
class Started:
    """What has become of a start."""

    cluster: LocalCluster
    failures: list[CommandFailed]


async def start(
    home: Home,
    cluster: LocalCluster,
    nodes: Sequence[LocalNode],
    *,
    environment: Mapping[str, str],
    timeout_s: float,
) -> Started:
    """Start nodes together, and wait until they are ready; what runs is left running.

    Each process is written down before the next one is started: also by a command that is
    interrupted, or nobody would know of it.
    """
    given = environment_of(environment)
    with _launched() as launches:
        begins = {}
        for node in nodes:
            begins[node.number] = home.turn_log(node.number)
            launch = Launch(
                command_of(home, cluster, node),
                given,
                log=home.log(node.number),
                exit_file=home.exit_file(node.number),
            )
            launches[node.number] = node, launch
            cluster = await _whole(_written_down(home, cluster, node.number, launch=launch))
        failures = await _awaited(home, launches, begins, timeout_s=timeout_s)
    return Started(cluster, failures)


async def _written_down(
    home: Home, cluster: LocalCluster, number: int, *, launch: Launch
) -> LocalCluster:
    """Return the cluster with the process of a node, once it is kept."""
    process = await launch.watched()
    nodes = [
        replace(one, process=process) if one.number == number else one for one in cluster.nodes
    ]
    cluster = replace(cluster, nodes=tuple(nodes))
    home.write(cluster)
    return cluster


async def _whole(work: Coroutine[object, object, ResultT]) -> ResultT:
    """Await what is not to be left half done; who is interrupted meanwhile is so at its end."""
    task = asyncio.ensure_future(work)  # noqa: TID251 - awaited here, whatever comes
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


@contextmanager
def _launched() -> Iterator[dict[int, tuple[LocalNode, Launch]]]:
    """Yield a place for launches; their pipes are closed at the end."""
    launches: dict[int, tuple[LocalNode, Launch]] = {}
    try:
        yield launches
    finally:
        for _, launch in launches.values():
            launch.close()


async def _awaited(
    home: Home,
    launches: Mapping[int, tuple[LocalNode, Launch]],
    begins: Mapping[int, int],
    *,
    timeout_s: float,
) -> list[CommandFailed]:
    """Wait until each node has joined or ended; return what is wrong with those that did not."""
    told: dict[int, bool] = {}

    async def hear(node: LocalNode, launch: Launch, limit: asyncio.Timeout) -> None:
        told[node.number] = await _has_joined(node, launch)
        if not told[node.number]:
            soon = asyncio.get_running_loop().time() + REST_S
            limit.reschedule(min(soon, limit.when() or soon))

    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s) as limit, asyncio.TaskGroup() as group:
            for node, launch in launches.values():
                group.create_task(hear(node, launch, limit))
    return [
        _has_ended(home, number, since=begins[number])
        if number in told
        else _is_not_ready(home, number, since=begins[number])
        for number in launches
        if not told.get(number)
    ]


async def _has_joined(node: LocalNode, launch: Launch) -> bool:
    """Wait until a node is a part of its cluster; False: it has ended instead."""
    if await launch.line() is None:
        return False
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(_joined(node))
        ending = group.create_task(launch.line())
        await asyncio.wait((asking, ending), return_when=asyncio.FIRST_COMPLETED)
        has_ended = ending.done()
        asking.cancel()
        ending.cancel()
    return not has_ended


async def _joined(node: LocalNode) -> None:
    while True:
        found = await cluster_map(node)
        if found is not None and found.controller is not None:
            return
        await SystemClock().sleep(AGAIN_S)


def _has_ended(home: Home, number: int, *, since: int) -> CommandFailed:
    code = home.exit_code(number)
    return CommandFailed(
        f"node {number} ended with exit code {_shown(code)} before it was ready:\n"
        f"{last_words(home.log(number), since)}",
        hint=f"the whole of it: tidelog local logs --node {number}{_data(home)}",
        exit_code=code if code in REFUSALS else Exit.FAILED,
    )


def _shown(code: int | None) -> str:
    return "unknown" if code is None else str(code)


def _is_not_ready(home: Home, number: int, *, since: int) -> CommandFailed:
    return CommandFailed(
        f"node {number} runs and is not ready yet; it said last:\n"
        f"{last_words(home.log(number), since)}",
        hint="a node waits until a majority of the cluster is there: start the others too, or "
        f"look again: tidelog local status{_data(home)}",
        exit_code=Exit.NOT_NOW,
    )


def _data(home: Home) -> str:
    return f" {home.option}"


def last_words(log: Path, since: int) -> str:
    """Return the last lines that stand in a log from a byte on."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(since, file.tell() - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        text = ""
    lines = [f"  {line}" for line in text.splitlines()[-TAIL_LINES:]]
    return "\n".join(lines or ["  nothing"])


async def stop(home: Home, nodes: Sequence[LocalNode], *, kill: bool) -> list[CommandFailed]:
    """End nodes together; return what is wrong with those that did not end as they should have."""
    number = signal.SIGKILL if kill else signal.SIGTERM
    asked = [(one, one.process) for one in nodes if one.process is not None]
    asked = [(one, process) for one, process in asked if send(process.process, number)]
    gone = await asyncio.gather(*(ended(process, STOP_S_MAX) for _, process in asked))
    failures = []
    for (node, _), is_gone in zip(asked, gone, strict=True):
        code = home.exit_code(node.number)
        if not is_gone:
            failures.append(
                CommandFailed(
                    f"node {node.number} has not ended after {STOP_S_MAX:.0f} s"
                    + (": it is paused" if standing_of(node) is Standing.PAUSED else ""),
                    hint=f"end it at once: tidelog local stop --kill --node {node.number}"
                    f"{_data(home)}; nothing that is acknowledged is lost by it",
                    exit_code=Exit.NOT_NOW,
                )
            )
        elif code not in IN_ORDER and not kill:
            failures.append(
                CommandFailed(
                    f"node {node.number} ended with exit code {_shown(code)}",
                    hint=f"it says why: tidelog local logs --node {node.number}{_data(home)}",
                    exit_code=code if code in REFUSALS else Exit.FAILED,
                )
            )
    return failures


async def look(home: Home, nodes: Sequence[LocalNode]) -> list[Seen]:
    """Return how nodes are; one that runs is asked whether it is ready."""
    return list(await asyncio.gather(*(_seen(home, one) for one in nodes)))


async def _seen(home: Home, node: LocalNode) -> Seen:
    found = standing_of(node)
    if found is Standing.RUNNING:
        host, _, port = node.ports.address("http").rpartition(":")
        probe = partial(ask, host, int(port), "/readyz", timeout_ms=PROBE_MS)
        answer, seen = await asyncio.gather(asyncio.to_thread(probe), cluster_map(node))
        ready = answer.status == HTTP_OK
        why = "" if ready else answer.text.strip()
        return Seen(node, found.value, None, ready=ready, found=seen, detail=why)
    if found is Standing.PAUSED:
        why = "it was sent SIGSTOP"
        return Seen(node, found.value, None, ready=False, found=None, detail=why)
    code = home.exit_code(node.number)
    if code in IN_ORDER or (code is None and node.process is None):
        return Seen(node, "stopped", code, ready=False, found=None, detail="")
    why = "" if code is not None else "nobody saw it end"
    return Seen(node, "crashed", code, ready=False, found=None, detail=why)


async def cluster_map(node: LocalNode) -> "ClusterInfo | None":
    """Return the cluster as a node sees it; None: it has not joined it, or does not answer."""
    # Who asks no node loads no gRPC.
    from tidelog.client import connect  # noqa: PLC0415
    from tidelog.errors import TidelogError  # noqa: PLC0415
    from tidelog.retry import Retry  # noqa: PLC0415

    once = Retry(total=timedelta(0))
    url = f"tidelog://{node.ports.address('grpc')}"
    try:
        async with asyncio.timeout(MAP_S), connect(url, client_id=CLIENT, retry=once) as client:
            return await client.cluster.get()
    except (TidelogError, TimeoutError):
        return None

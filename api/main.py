"""One node in this process: from its settings to its exit code. Used by `tidelog dev` and `serve`.

The process's own things are touched here alone: streams, event loop, signals, limits, how threads
take turns, how memory is given back, when garbage is looked for.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any, Final, Protocol

from api.config_file import ConfigRefused, Loaded
from api.door import Address, Door
from api.http.health import Health
from api.node.assemble import Node
from api.node.doors import Doors
from api.node.endpoints import check_endpoints, doubtful
from api.node.identity import numbered, secret_of
from api.node.lifecycle import EXIT_REFUSED, Lifecycle
from api.node.logging import EventLog, take_over_library_messages
from api.node.refusals import Refusal, exposure, refusal_of
from api.node.system_allocator import keep_freed_memory
from api.node.system_clock import SystemClock
from api.node.system_garbage import seldom_look_for_garbage
from api.node.system_host import looked_up, machine_name
from api.node.system_limits import memory_limit_bytes, open_files_max
from api.node.system_peers import SystemPeers
from api.node.system_rand import SystemRand
from api.node.system_spawn import SystemSpawn
from api.node.world import World
from api.settings import EventLoop, NodeSettings
from logstore.disk_posix import PosixDisk
from model.errors import StorageFailed
from model.ids import NodeId

SWITCH_S: Final = 0.0005
"""A thread that wants to run waits so long for one that computes; Python's own 5 ms would be longer
than a sync takes: the loop would hear of a finished round only after the batch it is checking.
Durable requests of one record, medians of seven pairs in each of two runs on two cores that others
used too: p99 of one client 0.8 and 2.5 ms instead of 1.5 and 3.6, of 64 clients 12.6 and 14.9 ms
instead of 14.2 and 17.7, which costs these 4 % of their rate and 6 % more CPU a request."""


class Audience(Protocol):
    """Whoever started the node and shows what becomes of it."""

    async def started(self, node: Node) -> None:
        """The node has recovered; no door is open yet."""
        ...

    def ready(self, node: Node, addresses: dict[str, Address], stop: Callable[[], None]) -> None:
        """Every door is open; `stop` ends the node in order."""
        ...

    def option(self, setting: str, value: str) -> str:
        """Return what to write for a setting to have a value, on the command line that it uses."""
        ...


class NodeRefused(Exception):  # noqa: N818 - says what happened
    """The node did not start, or could not go on."""

    def __init__(self, refusal: Refusal) -> None:
        """Carry what to print."""
        super().__init__(refusal.text)
        self.refusal = refusal


def run_node(loaded: Loaded, *, version: str, audience: Audience) -> int:
    """Run a node until somebody stops it; return the exit code.

    Raises:
        NodeRefused: with the line to print and the exit code.
        BaseException: a bug, as it was.
    """
    try:
        loaded = checked(loaded)
    except ConfigRefused as error:
        hint, text = error.hint, "; ".join(error.problems)
        raise NodeRefused(Refusal(text, hint, EXIT_REFUSED)) from error
    loaded = prepare_process(loaded)
    settings = loaded.settings
    data_dir = settings.node.data_dir
    try:
        disk = PosixDisk(data_dir, create=True)
    except OSError as error:
        if (told := refusal_of(error, data_dir=data_dir, option=audience.option)) is None:
            raise
        raise NodeRefused(told) from error
    with asyncio.Runner(loop_factory=loop_factory(settings.node.event_loop)) as runner:
        run = _Run(loaded, disk, version=version, audience=audience)
        code = runner.run(run.main())
    if run.error is not None:
        if (told := refusal_of(run.error, data_dir=data_dir, option=audience.option)) is None:
            raise run.error
        raise NodeRefused(told) from run.error
    return code


def checked(loaded: Loaded) -> Loaded:
    """Return the settings that a node here starts with; what only this machine can tell is told.

    Raises:
        ConfigRefused: strangers could be clients or nodes, or the node has no number.
    """
    loaded = numbered(loaded, machine_name())
    if (refused := exposure(loaded.settings)) is not None:
        raise ConfigRefused([refused.text], refused.hint)
    secret_of(loaded.settings)
    check_endpoints(loaded.settings)
    return loaded


def prepare_process(loaded: Loaded) -> Loaded:
    """Set what the process as a whole has; return the settings, bounded by what it was granted."""
    sys.setswitchinterval(SWITCH_S)
    keep_freed_memory()
    settings = loaded.settings
    log = replace(settings.log, open_files_max=open_files_max(settings.log.open_files_max))
    return replace(loaded, settings=replace(settings, log=log))


def loop_factory(wanted: EventLoop) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop; None is Python's own."""
    present = find_spec("uvloop") is not None
    if wanted is EventLoop.UVLOOP and not present:
        raise NodeRefused(
            Refusal(
                "node.event_loop = uvloop, and uvloop is not installed",
                "pip install 'tidelog[speed]', or node.event_loop = auto",
                EXIT_REFUSED,
            )
        )
    if wanted is EventLoop.ASYNCIO or not present:
        return None
    from uvloop import new_event_loop  # noqa: PLC0415 - only where it is installed

    return new_event_loop


def memory_budget_bytes(settings: NodeSettings) -> int:
    """Return what request and answer buffers may take together (P53)."""
    limits = settings.limits
    if limits.memory_budget_bytes is not None:
        return limits.memory_budget_bytes
    return memory_limit_bytes() * limits.memory_budget_percent // 100


class _Run:
    """One run on the loop; the lifecycle's watcher."""

    def __init__(
        self, loaded: Loaded, disk: PosixDisk, *, version: str, audience: Audience
    ) -> None:
        self.error: BaseException | None = None
        self._loaded = loaded
        self._disk = disk
        self._version = version
        self._audience = audience
        self._node: Node | None = None
        self._is_ready = False
        self._health = Health()
        self._lifecycle = Lifecycle(self, stopping=self._health.stopping)

    async def main(self) -> int:
        """Start, serve, stop."""
        settings = self._loaded.settings
        clock = SystemClock(asyncio.get_running_loop())
        self._log = EventLog(
            settings.logging, stream=sys.stderr, clock=clock, node=NodeId(settings.node.id)
        )
        take_over_library_messages(self._log)
        spawn = SystemSpawn(self._lifecycle.fail)
        self._world = World(
            disk=self._disk,
            clock=clock,
            rand=SystemRand(),
            spawn=spawn,
            memory_bytes=memory_budget_bytes(settings),
            version=self._version,
            note=self._log,
            peers=SystemPeers(spawn) if settings.cluster.seed_list else None,
            secret=secret_of(settings),
            machine=machine_name(),
            loaded=seldom_look_for_garbage,
        )
        for warning in self._loaded.warnings:
            self._log("config_unknown", name=warning)
        self._log(
            "node_starting", version=self._version, data_dir=settings.node.data_dir, pid=os.getpid()
        )
        self._doors = Doors(settings, self._world, self._log, self._health)
        code = await self._lifecycle.run(self._start, self._make_doors)
        self._log("node_stopped", exit_code=code)
        self._log.close()
        return code

    async def _start(self, lifecycle: Lifecycle) -> Node:
        settings = self._loaded.settings
        node = await Node.start(settings, self._world, failed=lifecycle.fail)
        self._node = node
        self._tell_recovery(node)
        await self._audience.started(node)
        self._health.passed("recovery")
        self._health.passed("metadata", lambda: f"applied {node.broker.image.applied}")
        self._health.passed("storage", settings.node.data_dir)
        if settings.exposed():
            self._health.note("security", "open: no client is asked for a password")
            self._log("node_open", listeners=",".join(settings.exposed()))
        self._health.note("controller", partial(_controller, node))
        return node

    def _make_doors(self, node: Node) -> Sequence[Door]:
        return self._doors.make(node)

    def _tell_recovery(self, node: Node) -> None:
        report = node.report
        self._log(
            "node_recovered",
            **({"new": "true"} if report.new else {"clean": str(report.clean).lower()}),
            replayed_entries=report.replayed_entries,
            scanned_bytes=report.scanned_bytes,
            dropped_bytes=report.dropped_bytes,
            partitions=len(node.directory.partitions),
        )
        for finding in report.dropped:
            self._log("recovery_dropped", **_fields(finding))
        for finding in report.repaired:
            self._log("recovery_repaired", **_fields(finding))

    # api.node.lifecycle.Watcher

    def ready(self, addresses: dict[str, Address]) -> None:
        """Every door is open."""
        assert self._node is not None, "NODE_HAS_STARTED"
        self._is_ready = True
        self._health.passed("listeners", "open")
        self._doors.opened(addresses)
        self._log("node_ready", **{door: at.text for door, at in addresses.items()})
        self._world.spawn.start(self._tell_doubts(), "advertised addresses")
        self._audience.ready(self._node, addresses, self._lifecycle.request_stop)

    async def _tell_doubts(self) -> None:
        """Say which addresses, of those that others are told, may lead nowhere."""
        for doubt in await doubtful(self._loaded.settings, self._world.machine, looked_up):
            self._log("address_in_doubt", **doubt._asdict())

    def failed(self, error: Exception) -> None:
        """The node cannot go on."""
        self.error = error
        if isinstance(error, StorageFailed):
            self._health.failed("storage", "offline")
        else:
            self._health.stopping()  # a bug, not the disk
        if self._is_ready:  # else the command line says the same, once
            self._log("node_failed", error=f"{type(error).__name__}: {error}")


def _controller(node: Node) -> str:
    """Return who decides on the metadata, for people."""
    asked = node.broker.context.controller
    if asked is None:
        return "this node, alone"
    if not node.has_joined:
        return "not joined yet: this node waits for the controllers"
    leader = asked()
    return "nobody: there is no majority" if leader is None else f"node {leader}"


def _fields(finding: Any) -> dict[str, str | int]:
    return {
        "file": finding.file,
        "position": finding.position,
        "size_bytes": finding.size_bytes,
        "why": finding.why,
    }

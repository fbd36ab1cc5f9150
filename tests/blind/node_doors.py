"""The ways into one running node: stubs, the SDK, Kafka's address, and the command line."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from grpc import aio

import tidelog
from tests.kill.node_process import HOST, ROOT
from tidelog.v1 import log_service_pb2_grpc

COMMANDS_MAX: Final = 2
"""Commands that run at once: each is a process."""


class Said(NamedTuple):
    """What a command has put out."""

    code: int
    out: bytes
    told: str
    """On stderr."""


@dataclass(slots=True)
class NodeDoors:
    """Everything needs the node to run; after a restart, other doors are opened."""

    client: tidelog.Client
    channel: aio.Channel
    kafka: str
    """Where Kafka's clients connect: at the relay, which the node names to them too."""
    grpc: str
    home: Path
    """A folder without configuration, for commands."""
    _commands: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(COMMANDS_MAX))

    @property
    def logs(self) -> Any:
        """Stubs of LogService."""
        return log_service_pb2_grpc.LogServiceStub(self.channel)

    async def command(self, *arguments: str) -> Said:
        """Run `tidelog` with arguments, as a process, to its end."""
        environment = {
            **os.environ,
            "XDG_CONFIG_HOME": str(self.home),
            "TIDELOG_CLIENT__ADDRESS": self.grpc,
            "TIDELOG_CLIENT__TIMEOUT_MS": "60000",
        }
        async with self._commands:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tidelog", *arguments,
                cwd=ROOT, env=environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, told = await process.communicate()
        return Said(process.returncode or 0, out, told.decode(errors="replace"))


@asynccontextmanager
async def node_doors(*, grpc_port: int, kafka_port: int, home: Path) -> AsyncIterator[NodeDoors]:
    """Open the doors of a node that runs on this machine."""
    grpc = f"{HOST}:{grpc_port}"
    async with (
        tidelog.connect(f"tidelog://{grpc}", client_id="blind") as client,
        aio.insecure_channel(grpc) as channel,
    ):
        yield NodeDoors(client, channel, f"{HOST}:{kafka_port}", grpc, home)

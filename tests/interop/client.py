"""What a client is to the table: one that writes the sample to a topic, and may read a topic."""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from tests.interop.sample import RECORDS, Told
from tests.kill.node_process import Doors

WAIT_S: Final = 60
"""A client that has said nothing for so long has failed."""
TAIL_CHARACTERS: Final = 300


class ClientFailedError(Exception):
    """A client did not do what it was asked."""


class Target(NamedTuple):
    """Where a client writes, and how it compresses."""

    topic: str
    codec: str


Write = Callable[[Doors, Target, Sequence[Told]], Awaitable[None]]
Read = Callable[[Doors, str, int], Awaitable[list[Told]]]
"""Doors, topic, how many records there are."""


@dataclass(frozen=True, slots=True)
class Client:
    """One way in, and mostly out. Everything is partition 0."""

    write: Write
    read: Read | None
    """None: it reads only as a member of a group."""
    dates: bool = True
    """It can say when its records happened; else they are dated as they are written."""
    sample: Sequence[Told] = RECORDS
    """What it can write."""


async def said(
    command: Sequence[str], *, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> bytes:
    """Run a client that is a program of its own; return what it prints.

    Raises:
        ClientFailedError: it ended with another code than 0.
    """
    run = await asyncio.to_thread(
        subprocess.run,
        command,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=WAIT_S,
        env={**os.environ, **(environment or {})},
    )
    if run.returncode:
        last_words = run.stderr.decode(errors="replace")[-TAIL_CHARACTERS:]
        raise ClientFailedError(f"{command[0]} ended with {run.returncode}: {last_words}")
    return bytes(run.stdout)

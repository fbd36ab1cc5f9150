"""What `dev` and `serve` share: readiness signals, topics to begin with, refusals as one line."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from api.config_file import Loaded
from api.door import Address
from api.main import Audience, NodeRefused, run_node
from api.node.assemble import Node
from cluster.controller.topics import CreateTopic
from model.errors import ErrorCode, RequestError
from model.ids import TopicName
from model.principal import ANONYMOUS
from tidelog._launcher import release
from tidelog.cli.failure import CommandFailed, Exit, Usage
from tidelog.cli.reasons import failed


class SeedTopic(NamedTuple):
    """A topic that shall exist before clients come."""

    name: str
    partitions: int | None
    """None: whatever it has; 1 if it is made."""


def seed_topics(texts: Sequence[str]) -> list[SeedTopic]:
    """Read `NAME` and `NAME:PARTITIONS`.

    Raises:
        Usage: the number is none.
    """
    topics = []
    for text in texts:
        name, colon, count = text.partition(":")
        if colon and not (count.isascii() and count.isdigit()):
            raise Usage(f'--seed-topic "{text}"', hint="write NAME or NAME:PARTITIONS")
        topics.append(SeedTopic(name, int(count) if colon else None))
    return topics


async def create_seeds(node: Node, seeds: Sequence[SeedTopic]) -> list[str]:
    """Create the topics that do not exist; return what to tell of those that are otherwise.

    Raises:
        CommandFailed: one cannot be created; those before it are.
    """
    requests = [
        CreateTopic(name=seed.name, partitions=1 if seed.partitions is None else seed.partitions)
        for seed in seeds
    ]
    told = []
    answers = await node.broker.create_topics(ANONYMOUS, requests)
    for seed, answer in zip(seeds, answers, strict=True):
        if not isinstance(answer, RequestError):
            continue
        if answer.code is not ErrorCode.TOPIC_ALREADY_EXISTS:
            raise failed(answer.code.name, answer.detail, metadata=answer.metadata)
        there = node.broker.image.topics.get(TopicName(seed.name))
        have = None if there is None else len(there.partitions)
        if seed.partitions is not None and have != seed.partitions:
            told.append(
                f'--seed-topic {seed.name}:{seed.partitions}: topic "{seed.name}" is there, '
                f"with {have} partitions; it stays as it is"
            )
    return told


def check_signals(*, ready_fd: int | None, ports_file: str | None, data_dir: str) -> None:
    """See, before anything is opened, that `tell_ready` will be able to do what it is asked for.

    `data_dir`: the start makes it, and the parents that it lacks.

    Raises:
        CommandFailed: exit 10, no such descriptor, or no place for the file.
    """
    if ready_fd is not None:
        try:
            os.fstat(ready_fd)
        except OSError as error:
            raise CommandFailed(
                f"--ready-fd {ready_fd}: {error.strerror}",
                hint="open a descriptor for writing and let the node inherit it",
                exit_code=Exit.CONFIGURATION,
            ) from error
    if ports_file is not None:
        folder = Path(ports_file).absolute().parent
        made = Path(data_dir).absolute()
        there = folder
        if folder in {made, *made.parents}:
            there = next(one for one in (folder, *folder.parents) if one.exists())
        if Path(ports_file).is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise CommandFailed(
                f"--ports-file {ports_file}: cannot be written",
                hint=f"name a file in a directory that exists and may be written to, not {folder}"
                if not Path(ports_file).is_dir()
                else "name a file: this is a directory",
                exit_code=Exit.CONFIGURATION,
            )


def tell_ready(
    addresses: dict[str, Address], *, ready_fd: int | None, ports_file: str | None
) -> None:
    """Tell programs where the node listens: a whole file at once, then one line on a descriptor."""
    ports = {door: address.port for door, address in addresses.items()}
    if ports_file is not None:
        whole = Path(f"{ports_file}.tmp")
        whole.write_text(json.dumps(ports) + "\n", encoding="utf-8")
        whole.replace(ports_file)
    if ready_fd is not None:
        with suppress(BrokenPipeError):  # whoever wanted to know has gone; the node serves others
            os.write(ready_fd, (json.dumps(ports) + "\n").encode())
        os.close(ready_fd)


def run(loaded: Loaded, audience: Audience) -> int:
    """Run the node; what refuses it becomes one line with a hint.

    Raises:
        CommandFailed: with the exit code of the refusal.
    """
    try:
        return run_node(loaded, version=release(), audience=audience)
    except NodeRefused as refused:
        told = refused.refusal
        raise CommandFailed(told.text, hint=told.hint, exit_code=told.exit_code) from refused


def configuration_failed(refused: ValueError) -> CommandFailed:
    """Return the failure of a configuration: every fault in one line each."""
    problems = getattr(refused, "problems", (str(refused),))
    return CommandFailed(
        "\nerror: ".join(problems),
        hint=getattr(refused, "hint", None),
        exit_code=Exit.CONFIGURATION,
    )

"""The page of every command, from the tree itself: what `--help` and `--help-json` show."""

from collections.abc import Iterator
from typing import Final

import click

from tidelog.cli.time_range import GRAMMAR
from tidelog.cli.tree import COMING, root
from tidelog.cli.verb import GlobalOption, NotBuilt, Verb

INTRODUCTION: Final = """\
Every command of this release. What holds for all of them (streams, formats, exit codes, danger)
is the [contract of the command line](cli-contract.md). `tidelog COMMAND --help` prints the same as
here; `tidelog --help-json` the whole tree for programs. *ro* commands change nothing."""


def page() -> str:
    """Return the page below its title."""
    context = click.Context(root, info_name="tidelog")
    words = ", ".join(f"`{word}`" for word in COMING)
    return "\n\n".join(
        [
            INTRODUCTION,
            "## Options of every command",
            _options(root, context, of_all=True),
            *_commands(root, context),
            "## Places and time ranges",
            "What `-o`, `--to` and `--before` take:",
            f"```text\n{GRAMMAR}\n```",
            "## Not built yet",
            f"These answer `NOT_IMPLEMENTED` and exit 2: {words}.",
        ]
    )


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    """Yield the sections of a group's commands, depth first."""
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if command is None or isinstance(command, NotBuilt):
            continue
        below = click.Context(command, info_name=word, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, below)
        elif isinstance(command, Verb):
            yield _section(command, below)


def _section(command: Verb, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = " ".join((command.help or "").split())
    parts = [
        f"## {context.command_path}",
        f"```text\n{usage}\n```",
        f"{text} *({_impact(command)})*",
    ]
    options = _options(command, context, of_all=False)
    examples = "\n".join(command.examples)
    return "\n\n".join([*parts, *([options] if options else []), f"```sh\n{examples}\n```"])


def _impact(command: Verb) -> str:
    without = " ".join(f"`{flag}`" for flag in command.ro_without)
    return f"{command.impact}; ro without {without}" if without else command.impact


def _options(command: click.Command, context: click.Context, *, of_all: bool) -> str:
    """Return a table of options: those of every command, or a command's own."""
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or isinstance(parameter, GlobalOption) != of_all:
            continue
        if "--help" not in parameter.opts:
            rows.append(f"| `{record[0]}` | {record[1]} |".replace("|  |", "| |"))
    return "\n".join(["| option | meaning |", "| --- | --- |", *rows]) if rows else ""

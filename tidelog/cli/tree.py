"""The tree of commands. A command's module is imported when the command is called, not before.

Adding a client verb is adding its module: an entry whose module is not there yet answers
NOT_IMPLEMENTED, and so do the words of later releases.
"""

import json
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from tidelog import _launcher
from tidelog.cli.failure import CommandFailed
from tidelog.cli.run import Run
from tidelog.cli.verb import GlobalOption, NotBuilt, Noun, Verb


class Entry(NamedTuple):
    """Where a client verb is written, and what the list of commands says of it."""

    module: str
    about: str
    attribute: str = ""
    """Of the module; else it is named as the verb."""


CLIENT: Final = {
    "topic": Entry("tidelog.cli.topic", "Create, list, describe, change, trim and delete topics."),
    "produce": Entry("tidelog.cli.produce", "Write records from stdin or from the command line."),
    "consume": Entry("tidelog.cli.consume", "Read records: from a place, over a time range, on."),
    "tail": Entry("tidelog.cli.tail", "Follow the end of a topic, a line for each record."),
    "group": Entry("tidelog.cli.group", "Show consumer groups, send them elsewhere, delete them."),
    "cluster": Entry("tidelog.cli.cluster", "Show the nodes of the cluster, and how it is."),
    "partition": Entry("tidelog.cli.partition", "Show who leads and is in sync; hand over."),
    "broker": Entry("tidelog.cli.broker", "Show nodes: what they lead and hold, their disks."),
    "quorum": Entry("tidelog.cli.quorum", "Show and change who votes on metadata."),
    "get": Entry("tidelog.cli.get", "Show one record in full."),
    "check": Entry("tidelog.cli.check", "Health of a node, with the exit codes of Nagios."),
    "doctor": Entry("tidelog.cli.doctor", "One block to paste: versions and what is reachable."),
    "errors": Entry("tidelog.cli.errors", "Cause and remedy of a reason such as DISK_FULL."),
    "config": Entry("tidelog.cli.config", "Show every setting, and where its value comes from."),
    "completion": Entry("tidelog.cli.completion", "Print the completion script of a shell."),
    "version": Entry("tidelog.cli.version", "Print the version."),
}
SERVER: Final = {
    "dev": "A node for development: data in ./.tidelog, loopback only.",
    "serve": "A node for production.",
    "local": "A cluster of several nodes on this machine.",
    "verify": "Check a data directory offline; changes nothing.",
    "dump": "Print a file of a data directory.",
    "sim": "Run three nodes in simulated weather, from a seed.",
}
COMING: Final = (
    "stream", "replay",
    "user", "acl", "report", "bench", "txn", "queue", "profile",
)  # fmt: skip
EXAMPLES: Final = (
    "tidelog dev",
    "tidelog topic create orders -p 6",
    "echo 'hello' | tidelog produce orders -k alice",
    "tidelog consume orders -o @-1h:end",
)

assert SERVER.keys() == set(_launcher.SERVER_VERBS)


class Root(Noun):
    """The command `tidelog`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the words that are there, in the order in which people meet them."""
        del ctx
        return [*SERVER, *(word for word in CLIENT if is_built(word))]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the words that begin so, from the tables: a shell waits for no import."""
        client = {word: entry.about for word, entry in CLIENT.items() if is_built(word)}
        words = [
            CompletionItem(word, help=text)
            for word, text in (SERVER | client).items()
            if word.startswith(incomplete)
        ]
        return words + click.Command.shell_complete(self, ctx, incomplete)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if the word is unknown."""
        del ctx
        if cmd_name in SERVER:
            return _server_command(cmd_name)
        if cmd_name in CLIENT and is_built(cmd_name):
            entry = CLIENT[cmd_name]
            command: click.Command = getattr(
                import_module(entry.module), entry.attribute or cmd_name
            )
            return command
        return NotBuilt(cmd_name) if cmd_name in CLIENT or cmd_name in COMING else None

    def words(self, ctx: click.Context) -> list[str]:
        """Return every word that means something here."""
        del ctx
        return [*SERVER, *CLIENT, *COMING]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, from the tables above: nothing is imported for it."""
        with formatter.section("SERVER"):
            formatter.write_dl(list(SERVER.items()))
        with formatter.section("COMMANDS"):
            formatter.write_dl(
                [(word, CLIENT[word].about) for word in self.list_commands(ctx) if word in CLIENT]
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a reader that hung up (`| head`) ends it quietly."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as closed:
            raise StdoutClosed from closed


class StdoutClosed(Exception):  # noqa: N818 - says what happened
    """Whoever read our output has enough."""


def is_built(word: str) -> bool:
    """Tell whether the module of a client verb is there."""
    return find_spec(CLIENT[word].module) is not None


def _server_command(word: str) -> click.Command:
    """Return a server-side command, or one that says why this installation has none."""
    if (refusal := _launcher.closed(word)) is not None:
        text, hint, code = refusal
        return _Closed(word, CommandFailed(text, hint=hint, exit_code=code))
    return _launcher.server_command(word)


class _Closed(NotBuilt):
    """A server-side command on a machine that cannot run it."""

    def __init__(self, word: str, why: CommandFailed) -> None:
        super().__init__(word)
        self.help = SERVER[word]
        self._why = why

    def invoke(self, ctx: click.Context) -> Any:
        """Refuse."""
        del ctx
        raise self._why


def _print_tree(context: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    """Print the whole tree as JSON, for `--help-json`."""
    del parameter
    if value and not context.resilient_parsing:
        run = context.ensure_object(Run)
        run.write(json.dumps(describe(root, context), indent=2) + "\n")
        context.exit()


def describe(command: click.Command, context: click.Context) -> dict[str, object]:
    """Return what `--help-json` says of a command and of those below it."""
    about: dict[str, object] = {"name": command.name, "help": (command.help or "").strip()}
    if isinstance(command, Noun | Verb):
        about["examples"] = list(command.examples)
    if isinstance(command, click.Group):
        below = []
        for word in command.list_commands(context):
            child = command.get_command(context, word)
            if child is not None and (not child.hidden or isinstance(child, _Closed)):
                below.append(describe(child, click.Context(child, context, info_name=word)))
        return about | {"commands": below}
    if isinstance(command, Verb):
        about["impact"] = command.impact
        if command.ro_without:
            about["ro_without"] = list(command.ro_without)
    return about | {
        "parameters": [
            {
                "name": parameter.name,
                "flags": [*parameter.opts, *parameter.secondary_opts],
                "required": parameter.required,
                "many": parameter.multiple or parameter.nargs != 1,
                "global": isinstance(parameter, GlobalOption),
                "help": getattr(parameter, "help", None),
            }
            for parameter in command.get_params(context)
        ]
    }


root: Final = Root(
    "tidelog",
    help="Tidelog: a partitioned commit log that is read, sought and replayed by time.",
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        click.Option(
            ["--help-json"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_tree,
            help="Print the whole tree of commands as JSON.",
        ),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda context, parameter, value: _print_version(context, asked=value),
            help="Print the version.",
        ),
    ],
)


def _print_version(context: click.Context, *, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        context.ensure_object(Run).write(f"tidelog {_launcher.release()}\n")
        context.exit()

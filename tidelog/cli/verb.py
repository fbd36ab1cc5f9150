"""One command of the tree, and what every command has: global options, EXAMPLES, its impact.

    @click.command(cls=Verb, impact="ro", columns=COLUMNS, examples=("tidelog topic list",))
    @click.pass_obj
    def topic_list(run: Run) -> None: ...

A command that changes something is `rw` and takes `--dry-run` and `--yes` (`changing`), but for one
that does so only with some option (`ro_without`) and destroys nothing by it.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar

import click

from tidelog.cli.failure import Usage, not_built
from tidelog.cli.misuse import no_such_command
from tidelog.cli.output import Column, line_schema, schema
from tidelog.cli.run import FORMATS, Run

Impact = Literal["ro", "rw"]
FILES: Final = frozenset({"FILE", "DIR", "DIRECTORY"})
"""How the help calls the name of a file."""
CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_GLOBALS: Final = (
    (("-F", "--format"), {"type": click.Choice(FORMATS), "metavar": "FORMAT", "is_eager": True,
      "help": "text, wide, json, jsonl; help: the JSON Schema of the output."}),
    (("--color",), {"type": click.Choice(("auto", "always", "never")), "metavar": "WHEN",
      "help": "auto, always, never."}),
    (("--no-progress",), {"is_flag": True, "help": "No progress on stderr."}),
    (("--no-header",), {"is_flag": True, "help": "No header row in tables."}),
    (("--raw",), {"is_flag": True, "help": "Sizes and times in tables as plain numbers."}),
    (("-X", "overrides"), {"multiple": True, "metavar": "SECTION.KEY=VALUE",
      "help": "Set one setting; may be repeated."}),
    (("--debug",), {"is_flag": True, "help": "Show the traceback of an error."}),
)  # fmt: skip


class GlobalOption(click.Option):
    """An option that every command takes, before or after the verb."""


def global_options(taken: Sequence[click.Parameter]) -> list[click.Parameter]:
    """Return the global options, without those whose flags a command uses itself."""
    used = {flag for parameter in taken for flag in parameter.opts}
    options: list[click.Parameter] = []
    for declared, how in _GLOBALS:
        flags = [flag for flag in declared if flag not in used]
        if any(flag.startswith("-") for flag in flags):
            options.append(GlobalOption(flags, expose_value=False, callback=_note, **how))  # type: ignore[arg-type]
    return options


def _note(context: click.Context, parameter: click.Parameter, value: object) -> object:
    """Remember a global option where all commands of this run see it."""
    for word in _words_of(value):
        _check_text(word)
    if value not in (None, False, ()):
        context.ensure_object(Run).note(parameter.name or "", value)
    return value


def _words_of(value: object) -> list[str]:
    values = value if isinstance(value, tuple | list) else (value,)
    return [word for word in values if isinstance(word, str)]


def _check_text(word: str) -> None:
    """Accept a word that is text; others come from the shell as bytes that are not UTF-8.

    Raises:
        Usage: it is none.
    """
    try:
        word.encode()
    except UnicodeEncodeError:
        shown = "".join(_shown(letter) for letter in word)
        raise Usage(
            f'"{shown}" is not UTF-8', hint="keys and values of any bytes are read from stdin: -f"
        ) from None


def _shown(letter: str) -> str:
    """Return a letter as it can be printed; a byte that the shell passed on, by its number."""
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("utf-8", "backslashreplace").decode()


class Verb(click.Command):
    """A command that does something."""

    def __init__(
        self,
        *args: Any,
        impact: Impact = "ro",
        examples: Sequence[str] = (),
        columns: Sequence[Column] = (),
        lines: bool = False,
        ro_without: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        """Take what click takes, and what the contract of the command line asks for.

        `columns`: of the items that it puts out; they give `-F help` its schema. `lines`: it puts
        them out as they come, one a line, and has no envelope. `ro_without`: the options for which
        alone it is `rw`.
        """
        super().__init__(*args, **kwargs)
        assert examples, f"{self.name}: every command has examples"
        self.impact = impact
        self.examples = tuple(examples)
        self.columns = tuple(columns)
        self.lines = lines
        assert not ro_without or impact == "rw", f"{self.name}: ro already"
        self.ro_without = tuple(ro_without)
        self.params = [*self.params, *global_options(self.params)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words; a refusal knows whose they were.

        Raises:
            Usage: one is no text, nor the name of a file.
        """
        words = list(args)
        try:
            left = super().parse_args(ctx, args)
        except click.MissingParameter as missing:
            missing.ctx = missing.ctx or ctx
            if ctx.ensure_object(Run).format != "help":
                raise
            self._print_schema(ctx)  # it asks about the output, which is the same for every topic
            ctx.exit()
        except click.UsageError as refused:
            refused.ctx = refused.ctx or ctx
            raise
        files = [word for name in self._files(ctx) for word in _words_of(ctx.params.get(name))]
        for word in words:
            if not any(word.endswith(file) for file in files):
                _check_text(word)
        return left

    def _files(self, ctx: click.Context) -> list[str]:
        """Return its parameters that name files, which may have any name."""
        return [
            parameter.name or ""
            for parameter in self.params
            if parameter.make_metavar(ctx).strip("[]") in FILES
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; with `-F help` print the schema of its output instead."""
        run = ctx.ensure_object(Run)
        run.command = command_name(ctx)
        run.check_format()
        if run.format == "help":
            self._print_schema(ctx)
            return None
        return super().invoke(ctx)

    def _print_schema(self, ctx: click.Context) -> None:
        of = line_schema if self.lines else schema
        document = of(command_name(ctx), self.columns)
        ctx.ensure_object(Run).write(json.dumps(document, indent=2) + "\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the global ones."""
        own: list[tuple[str, str]] = []
        everywhere: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                (everywhere if isinstance(parameter, GlobalOption) else own).append(record)
        with formatter.section("OPTIONS"):
            formatter.write_dl(own)
        with formatter.section("GLOBAL OPTIONS"):
            formatter.write_dl(everywhere)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples at the end of the page."""
        super().format_epilog(ctx, formatter)
        with formatter.section("EXAMPLES"):
            for example in self.examples:
                formatter.write(f"  {example}\n")


class Noun(click.Group):
    """A group of commands about one thing: `tidelog topic ...`."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        coming: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        """Take what click takes; `coming` are the words that a later release brings."""
        super().__init__(*args, **kwargs)
        assert examples, f"{self.name}: every command has examples"
        self.examples = tuple(examples)
        self.coming = tuple(coming)
        self.params = [*self.params, *global_options(self.params)]

    def words(self, ctx: click.Context) -> list[str]:
        """Return every word that means something here."""
        return [*self.list_commands(ctx), *self.coming]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the next word names."""
        known = self.words(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            raise no_such_command(ctx.command_path.split(), args[0], known)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; one that is not built yet says so when it is called."""
        if cmd_name in self.coming:
            return NotBuilt(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples at the end of the page."""
        super().format_epilog(ctx, formatter)
        with formatter.section("EXAMPLES"):
            for example in self.examples:
                formatter.write(f"  {example}\n")


class NotBuilt(click.Command):
    """A command that a later release brings: whatever it is given, it says so, and exits with 2."""

    def __init__(self, name: str) -> None:
        """Take the word under which it will come."""
        super().__init__(
            name,
            hidden=True,
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Refuse."""
        raise not_built(f"tidelog {command_name(ctx).replace('.', ' ')}")


def changing(what: str) -> Callable[[CommandT], CommandT]:
    """Add `--dry-run` and `-y/--yes` to a command that changes something."""

    def add(command: CommandT) -> CommandT:
        command = click.option("-y", "--yes", is_flag=True, help="Do not ask before doing it.")(
            command
        )
        return click.option("--dry-run", is_flag=True, help=f"Show {what}, change nothing.")(
            command
        )

    return add


def command_name(context: click.Context) -> str:
    """Return the words of a command joined by dots, without the program's: `topic.list`."""
    words: list[str] = []
    here: click.Context | None = context
    while here is not None and here.parent is not None:
        words.insert(0, here.info_name or "")
        here = here.parent
    return ".".join(words)

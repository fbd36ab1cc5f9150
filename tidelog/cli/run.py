"""One run of the command line: the global options, and the two streams it writes to.

Data goes to stdout; progress, prompts, warnings and errors go to stderr.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TextIO

from tidelog.cli.failure import CommandFailed, Usage
from tidelog.cli.output import Column, Style, envelope, lines_of, table

FORMATS: Final = ("text", "wide", "json", "jsonl", "help")
OUTPUT: Final = "TIDELOG_OUTPUT"
"""In the environment: the format where no `-F` is given."""
COLORS: Final = ("auto", "always", "never")


class Run:
    """What a command is given beside its own arguments."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        """Begin with what the environment says; options that follow override it."""
        environment = os.environ if environment is None else environment
        self.environment: Mapping[str, str] = environment
        self._stdout = stdout
        self._stderr = stderr
        self.format = environment.get(OUTPUT, "") or "text"
        """One of `FORMATS`; of the environment also another word, which `check_format` refuses."""
        self.color = "auto"
        self.command = ""
        """Words of the command joined by dots, once it runs."""
        self.debug = False
        self.progress = True
        self.header = True
        self.raw = False
        self.overrides: tuple[str, ...] = ()
        """Of `-X`: `section.key=value` each."""
        self.printed = False
        """Something is on stdout already."""

    @property
    def stdout(self) -> TextIO:
        """Where data goes."""
        return self._stdout or sys.stdout

    @property
    def stderr(self) -> TextIO:
        """Where everything else goes."""
        return self._stderr or sys.stderr

    def note(self, option: str, value: object) -> None:
        """Take over one global option."""
        match option:
            case "format":
                self.format = str(value)
            case "color":
                self.color = str(value)
            case "debug":
                self.debug = True
            case "no_progress":
                self.progress = False
            case "no_header":
                self.header = False
            case "raw":
                self.raw = True
            case "overrides" if isinstance(value, tuple):
                self.overrides += value
            case _:
                raise AssertionError(option)

    def check_format(self) -> None:
        """Accept the format once all options are read: `-F` wins over the environment.

        Raises:
            Usage: the environment names one that is none.
        """
        if self.format not in FORMATS:
            named, self.format = self.format, "text"
            raise Usage(
                f"{OUTPUT}={named!r} is not one of {', '.join(map(repr, FORMATS))}",
                hint=f"unset {OUTPUT}, or set it to one of them; -F wins over it",
            )

    @property
    def is_json(self) -> bool:
        """Stdout is for programs: nothing but JSON goes there."""
        return self.format in {"json", "jsonl"}

    def style(self, stream: TextIO) -> Style:
        """Return how a stream may be coloured: only a terminal, and only if nobody minds."""
        if self.color != "auto":
            return Style(colored=self.color == "always")
        plain = self.environment.get("NO_COLOR") or self.environment.get("TERM") == "dumb"
        return Style(colored=not plain and stream.isatty())

    def write(self, text: str) -> None:
        """Write data."""
        self.printed = True
        self.stdout.write(text)

    def write_bytes(self, content: bytes) -> None:
        """Write data that is perhaps not text; on the stream that `write` uses, in order."""
        self.printed = True
        self.stdout.flush()
        self.stdout.buffer.write(content)

    def items(
        self,
        columns: Sequence[Column],
        items: Sequence[Mapping[str, object]],
        errors: Sequence[CommandFailed] = (),
    ) -> int:
        """Put out a list in the format that was asked for; return the exit code.

        One failure among many is 1; each is told on stderr too.
        """
        if self.format == "json":
            failures = [error.to_json() for error in errors]
            self.write(envelope(self.command, items, failures))
        elif self.format == "jsonl":
            self.write(lines_of(items))
        elif items or not errors:
            wide = self.format == "wide"
            shown = [column for column in columns if wide or not column.wide]
            self.write(
                table(shown, items, header=self.header, raw=self.raw, style=self.style(self.stdout))
            )
        for place, error in enumerate(errors):
            following = errors[place + 1] if place + 1 < len(errors) else None
            repeated = following is not None and following.hint == error.hint
            self.tell_failure(error, with_hint=not repeated)
        return 1 if errors else 0

    def tell(self, text: str) -> None:
        """Say something that is not data, on stderr."""
        self._say(f"{text}\n")

    def warn(self, text: str, *, hint: str | None = None) -> None:
        """Say on stderr what the user should know, though the command goes on."""
        style = self.style(self.stderr)
        self._say(f"{style.yellow('warning:')} {text}\n")
        if hint:
            self._say(f"{style.bold('hint:')} {hint}\n")

    def tell_failure(self, failure: CommandFailed, *, with_hint: bool = True) -> None:
        """Write what failed and what to do; failures in a row may share a hint."""
        style = self.style(self.stderr)
        reason = f" ({failure.reason})" if failure.reason else ""
        self._say(f"{style.red('error:')} {failure.text}{reason}\n")
        if failure.hint and with_hint:
            self._say(f"{style.bold('hint:')} {failure.hint}\n")

    def _say(self, text: str) -> None:
        """Write to stderr, behind what was printed before: both may go to one place."""
        with suppress(BrokenPipeError):  # whoever writes data there is told
            self.stdout.flush()
        self.stderr.write(text)

    def confirm(self, plan: str, *, yes: bool) -> None:
        """Show what will be destroyed and ask; without a terminal only `--yes` is an answer.

        Raises:
            CommandFailed: the answer is not yes (1), or there is nobody to ask (2).
        """
        self.tell(plan)
        if yes:
            return
        if not sys.stdin.isatty():
            raise Usage(
                "this needs a confirmation, and there is no terminal to ask on",
                hint="pass --yes to do it, or --dry-run to only look",
            )
        self.stderr.write("Go on? [y/N] ")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise CommandFailed("nothing was changed")

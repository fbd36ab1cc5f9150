"""A command line that is wrong: what is wrong with it, in one line, and what would be right."""

import re
from collections.abc import Sequence
from typing import Final

import click

from tidelog.cli.failure import Usage

ELSEWHERE: Final = {
    "reset": ("seek",),
    "reset-offsets": ("seek",),
    "lag": ("describe",),
    "info": ("describe",),
    "show": ("describe",),
    "rm": ("delete",),
    "remove": ("delete",),
    "edit": ("alter",),
    "purge": ("trim",),
    "consumer": ("group", "consume"),
    "pub": ("produce",),
    "publish": ("produce",),
    "send": ("produce",),
    "sub": ("consume",),
    "subscribe": ("consume",),
    "read": ("consume",),
}
"""What people write who come from other logs, and what that is called here."""

_RANGE: Final = re.compile(r"^(\S+) is not in the range (?:(\S+?)<=)?x(?:>=(\S+?)|<=(\S+?))?\.?$")
_NO_NUMBER: Final = re.compile(r"^'(.*)' is not a valid integer(?: range)?\.?$", re.DOTALL)


def misuse(error: click.UsageError) -> Usage:
    """Return what click refuses, in our words, with where to look."""
    where = error.ctx.command_path if error.ctx else "tidelog"
    if isinstance(error, click.MissingParameter):
        text = f"{_name(error.param)} is missing"
    elif isinstance(error, click.BadParameter) and error.param is not None:
        text = f"{_name(error.param)}: {_plainer(error.message)}"
    else:
        text = error.format_message().rstrip(".")
        text = text[:1].lower() + text[1:]
    return Usage(text, hint=f"see: {where} --help")


def no_such_command(words: Sequence[str], word: str, known: Sequence[str]) -> Usage:
    """Return the refusal of a word that is none; `words` are those before it, `known` those there.

    difflib is loaded only for that.
    """
    from difflib import get_close_matches  # noqa: PLC0415

    path = " ".join(words)
    meant = [each for each in ELSEWHERE.get(word, ()) if each in known]
    near = meant or get_close_matches(word, known, n=1)
    hint = f"did you mean: {path} {near[0]}" if near else f"see: {path} --help"
    what = " ".join([*words[1:], word])
    return Usage(f'there is no command "{what}"', hint=hint)


def _name(parameter: click.Parameter | None) -> str:
    """Return how the user writes a parameter: `--partitions`, `NAME`."""
    if parameter is None:
        return "an argument"
    if isinstance(parameter, click.Argument):
        metavar = parameter.make_metavar(click.Context(click.Command("x"))).removesuffix("...")
        return metavar[1:-1] if metavar.startswith("[") and metavar.endswith("]") else metavar
    return max(parameter.opts, key=len)


def _plainer(message: str) -> str:
    if found := _RANGE.match(message):
        number, least, least_alone, most = found.groups()
        if least and most:
            return f"{number} is not between {least} and {most}"
        return f"{number} is below {least_alone}" if least_alone else f"{number} is above {most}"
    if found := _NO_NUMBER.match(message):
        return f'"{found[1]}" is not a whole number'
    return message.rstrip(".")

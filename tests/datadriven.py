"""Scripts of commands with their expected output.

A script is a list of stanzas: comment lines that begin with `#`, one command line, its input lines
if it has any, `----`, the expected output, a blank line. No output holds a blank line.
`pytest --rewrite` writes what the code said into the script; read the diff before committing it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SEPARATOR = "----"


@dataclass(frozen=True, slots=True)
class Command:
    """One stanza's command: a name, its `key=value` arguments and the lines of its input."""

    name: str
    arguments: dict[str, str]
    lines: tuple[str, ...] = ()

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer argument."""
        if default is not None and key not in self.arguments:
            return default
        return int(self.arguments[key])

    def text(self, key: str, default: str | None = None) -> str:
        """Return an argument as it stands."""
        if default is not None and key not in self.arguments:
            return default
        return self.arguments[key]


def parsed(head: list[str], where: str) -> Command:
    """Return the command of a stanza's lines above the separator."""
    lines = [line for line in head if not line.startswith("#")]
    if not lines:
        raise ValueError(f"{where}: a stanza needs a command line")
    name, *words = lines[0].split()
    if odd := [word for word in words if "=" not in word]:
        raise ValueError(f"{where}: write key=value instead of {' '.join(odd)}")
    return Command(name, dict(word.split("=", 1) for word in words), tuple(lines[1:]))


def run_script(path: Path, execute: Callable[[Command], str], *, rewrite: bool) -> None:
    """Run every stanza of a script and compare or rewrite its output."""
    wanted = path.read_text()
    got: list[str] = []
    for number, stanza in enumerate(wanted.strip("\n").split("\n\n"), start=1):
        head, _, _ = f"{stanza}\n".partition(f"\n{SEPARATOR}\n")
        lines = head.rstrip("\n").splitlines()
        said = execute(parsed(lines, f"{path.name}, stanza {number}")).strip("\n")
        if "\n\n" in said:
            raise ValueError(f"{path.name}, stanza {number}: its output holds a blank line")
        got.append("\n".join([*lines, SEPARATOR, *([said] if said else [])]))
    text = "\n\n".join(got) + "\n"
    if rewrite:
        path.write_text(text)
        return
    assert text == wanted

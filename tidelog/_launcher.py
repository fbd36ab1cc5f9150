"""The door from the installed command to the server, which only the extra `server` can run.

Client commands never pass it: they load no server code and need no assertions.
"""

import gc
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import click

SERVER_VERBS: Final = ("dev", "serve", "local", "verify", "dump", "sim")
_NODES: Final = frozenset({"dev", "serve"})
"""A node says when it looks for garbage once all is loaded that it keeps."""
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 10  # a node may not run like this
_ONLY_IN_SERVER: Final = "grpc_health"
_USUAL: Final = gc.get_threshold()
_COLLECT_AFTER: Final = 50_000
"""Objects made before garbage is looked for. Loading makes some 40,000, and all of them stay."""


def closed(verb: str) -> tuple[str, str | None, int] | None:
    """Return why this Python cannot run a server-side verb, what to do, and the exit code.

    None if it can. No word of what to do: the first text says it, in one line.
    """
    if sys.flags.optimize:
        return (
            "assertions are off, and the safety of the log rests on them: drop -O, PYTHONOPTIMIZE",
            None,
            EXIT_REFUSED,
        )
    if find_spec(_ONLY_IN_SERVER) is None:
        return (
            f"`tidelog {verb}` needs the server, and only the client is installed",
            "pip install 'tidelog[server]'",
            EXIT_USAGE,
        )
    return None


def server_command(verb: str) -> "click.Command":
    """Import one server-side command. The caller has asked `closed`."""
    command: click.Command
    match verb:
        case "dev":
            from api.cli.dev import dev  # noqa: PLC0415 - clients never load the server

            command = dev
        case "serve":
            from api.cli.serve import serve  # noqa: PLC0415

            command = serve
        case "local":
            from api.cli.local import local  # noqa: PLC0415

            command = local
        case "verify":
            from api.cli.verify import verify  # noqa: PLC0415

            command = verify
        case "dump":
            from api.cli.dump import dump  # noqa: PLC0415

            command = dump
        case "sim":
            from api.cli.sim import sim  # noqa: PLC0415

            command = sim
        case _:
            raise ValueError(verb)
    if verb not in _NODES:
        gc.set_threshold(*_USUAL)
    return command


def node_settings(
    overrides: Sequence[str], environment: Mapping[str, str], file: str | None
) -> list[dict[str, object]] | None:
    """Return the rows of `tidelog config show` for a node; None where no node can run."""
    if closed("serve") is not None:
        return None
    from api.cli.settings_rows import rows  # noqa: PLC0415 - clients never load the server

    return rows(overrides, environment, file)


def release() -> str:
    """Return the version of the installed distribution."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 50 ms

    try:
        return version("tidelog")
    except PackageNotFoundError:  # run from the tree
        return "unreleased"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` are those of the process by default. Return its exit code.

    A short command spends a fifth of its time on looking for garbage where there is none, while it
    loads and once more when it ends: it looks less often, and not at all at the end.
    """
    if arguments is not None:
        return _run(arguments)
    gc.set_threshold(_COLLECT_AFTER, *_USUAL[1:])
    try:
        return _run(sys.argv[1:])
    finally:
        gc.freeze()


def _run(arguments: Sequence[str]) -> int:
    from tidelog.cli.program import main as run  # noqa: PLC0415 - nothing before it is needed

    return run(arguments)

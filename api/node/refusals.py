"""What to tell of an error that ends a node, or its start: one line, hint, exit code."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from api.config_file import ConfigRefused
from api.door import Address, DoorTaken
from api.node.lifecycle import EXIT_REFUSED
from api.settings import NodeSettings
from model.errors import DirectoryExit, DirectoryRefused, StorageFailed

Option: TypeAlias = Callable[[str, str], str]
"""Returns what to write on a command line for a setting (its name, its value) to be so."""

_NOT_USABLE = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST})


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the command line prints before the node ends."""

    text: str
    hint: str
    exit_code: int


def override(setting: str, value: str) -> str:
    """Return the option that every command has for every setting."""
    return f"-X {setting}={value}"


def refusal_of(error: BaseException, *, data_dir: str, option: Option) -> Refusal | None:
    """Return what to tell of an error; None: it is a bug, and its traceback is wanted.

    `option`: what the command that was given calls its options.
    """
    match error:
        case ConfigRefused():
            return Refusal("; ".join(error.problems), error.hint, EXIT_REFUSED)
        case DirectoryRefused():
            return Refusal(
                error.detail, _directory_hint(error, data_dir, option), int(error.exit_code)
            )
        case DoorTaken(door=door, address=address):
            port = address.port + 10_000 if address.port < 50_000 else 0
            other = option(f"listeners.{door}.bind", address._replace(port=port).text)
            return Refusal(
                str(error),
                f"stop the program that has the port, or take another: {other}",
                EXIT_REFUSED,
            )
        case StorageFailed():
            return _disk(error.errno, f"{data_dir}: {error}", data_dir=data_dir, option=option)
        case OSError() if error.errno is not None:
            return _disk(
                error.errno,
                f"{data_dir}: {os.strerror(error.errno)}",
                data_dir=data_dir,
                option=option,
            )
    return None


def _disk(number: int, text: str, *, data_dir: str, option: Option) -> Refusal:
    if number in _NOT_USABLE:
        return Refusal(
            f"{text}: this cannot be a data directory",
            f"name a directory that this user may write to: {option('node.data_dir', 'DIR')}",
            EXIT_REFUSED,
        )
    hints = {
        errno.ENOSPC: "free some space on its file system and start again: nothing was lost",
        errno.EDQUOT: "raise the quota of this user, or free some space, and start again",
        errno.EROFS: "mount its file system for writing, or name another directory",
    }
    hint = hints.get(
        number, f"look at the system's log for disk errors, then: tidelog verify {data_dir}"
    )
    return Refusal(text, hint, int(DirectoryExit.FAILED))


def _directory_hint(error: DirectoryRefused, data_dir: str, option: Option) -> str:
    match error.exit_code:
        case DirectoryExit.FENCED:
            own = option("node.data_dir", "DIR")
            return f"stop the other node, or give this one a directory of its own: {own}"
        case DirectoryExit.NEWER_FORMAT:
            return "start the newer Tidelog that wrote it; this one has changed nothing"
        case DirectoryExit.FAILED:
            return f"no record was changed; look closer with: tidelog verify {data_dir}"


def exposure(settings: NodeSettings) -> Refusal | None:
    """Refuse listeners that strangers reach, unless the configuration says that they may (P60)."""
    exposed = settings.exposed()
    if not exposed or settings.security.mode.value == "open":
        return None
    binds = settings.listeners()
    shown = ", ".join(f"{name} = {Address(*binds[name.split('.')[1]]).text}" for name in exposed)
    return Refusal(
        f"{shown}: other machines could connect, and no client is asked for a password",
        'listen on 127.0.0.1 only; or say that everybody may: security.mode = "open" in the file, '
        "TIDELOG_SECURITY__MODE=open, or -X security.mode=open",
        EXIT_REFUSED,
    )

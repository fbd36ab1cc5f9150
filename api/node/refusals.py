"""What to tell of an error that ends a node, or its start: one line, hint, exit code."""

import errno
import os
from dataclasses import dataclass

from api.config_file import ConfigRefused
from api.door import DoorTaken
from api.node.lifecycle import EXIT_REFUSED
from api.settings import NodeSettings
from model.errors import DirectoryExit, DirectoryRefused, StorageFailed

_OPTIONS = {"kafka": "--kafka-port", "grpc": "--grpc-port", "http": "--http-port"}
_NOT_USABLE = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST})


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the command line prints before the node ends."""

    text: str
    hint: str
    exit_code: int
    dev_hint: str = ""
    """What `tidelog dev` says instead, whose options are others; empty: the same."""


def refusal_of(error: BaseException, *, data_dir: str) -> Refusal | None:
    """Return what to tell of an error; None: it is a bug, and its traceback is wanted."""
    match error:
        case ConfigRefused():
            return Refusal("; ".join(error.problems), error.hint, EXIT_REFUSED)
        case DirectoryRefused():
            return Refusal(error.detail, _directory_hint(error, data_dir), int(error.exit_code))
        case DoorTaken(door=door, address=address):
            port = address.port + 10_000 if address.port < 50_000 else 0
            other = "stop the program that has the port, or take another: "
            return Refusal(
                str(error),
                f"{other}-X listeners.{door}.bind={address.host}:{port}",
                EXIT_REFUSED,
                dev_hint=f"{other}{_OPTIONS[door]} {port}" if door in _OPTIONS else "",
            )
        case StorageFailed():
            return _disk(error.errno, f"{data_dir}: {error}", data_dir)
        case OSError() if error.errno is not None:
            return _disk(error.errno, f"{data_dir}: {os.strerror(error.errno)}", data_dir)
    return None


def _disk(number: int, text: str, data_dir: str) -> Refusal:
    if number in _NOT_USABLE:
        return Refusal(
            f"{text}: this cannot be a data directory",
            "name a directory that this user may write to: -X node.data_dir=DIR",
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


def _directory_hint(error: DirectoryRefused, data_dir: str) -> str:
    match error.exit_code:
        case DirectoryExit.FENCED:
            return "stop the other node, or give this one a directory of its own: node.data_dir"
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
    shown = ", ".join(
        f"{name} = {binds[name.split('.')[1]][0]}:{binds[name.split('.')[1]][1]}"
        for name in exposed
    )
    return Refusal(
        f"{shown}: other machines could connect, and no client is asked for a password",
        'listen on 127.0.0.1 only; or say that everybody may: security.mode = "open" in the file, '
        "TIDELOG_SECURITY__MODE=open, or -X security.mode=open",
        EXIT_REFUSED,
    )

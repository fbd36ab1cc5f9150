"""A run of the command line, from arguments to exit code: every error ends here, in one line.

Nobody sees a traceback without `--debug`, nor a page of usage for one wrong word.
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from tidelog.cli import completing
from tidelog.cli.failure import CommandFailed, Exit, Terminated
from tidelog.cli.misuse import misuse
from tidelog.cli.output import envelope
from tidelog.cli.reasons import failure_of
from tidelog.cli.run import Run
from tidelog.cli.tree import StdoutClosed, root

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def main(arguments: Sequence[str], run: Run | None = None) -> int:
    """Run one command and return its exit code."""
    run = run or Run()
    if completing.asked(run):
        return completing.answer(root, run)
    try:
        result = root.main(list(arguments), prog_name="tidelog", standalone_mode=False, obj=run)
        run.stdout.flush()
    except (StdoutClosed, BrokenPipeError):
        _silence_stdout()
        return Exit.DONE
    except click.exceptions.NoArgsIsHelpError as asked:
        run.stderr.write(f"{asked.format_message()}\n")  # the page; it is no error to look
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt, Terminated) as told:
        return _ended(run, told)
    except Exception as error:  # noqa: BLE001 - the front door: whatever fails is told as one line
        return _fail(run, error)
    return result if isinstance(result, int) and not isinstance(result, bool) else Exit.DONE


def _ended(run: Run, told: BaseException) -> int:
    if isinstance(told, Terminated):
        return Exit.SIGNALLED + told.signal
    run.stderr.write("\n")  # behind the terminal's ^C
    return Exit.INTERRUPTED


def _fail(run: Run, error: Exception) -> int:
    failure = as_failure(error)
    if run.debug:
        traceback.print_exception(error, file=run.stderr)
    try:
        if run.format == "json" and not run.printed and run.command:
            run.write(envelope(run.command, (), [failure.to_json()]))
            run.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
    run.tell_failure(failure)
    return failure.exit_code


def as_failure(error: Exception) -> CommandFailed:
    """Return what to tell of an error, with what to do about it."""
    if isinstance(error, CommandFailed):
        return error
    if isinstance(error, click.UsageError):
        return misuse(error)
    if isinstance(error, click.ClickException):
        return CommandFailed(error.format_message(), exit_code=Exit.FAILED)
    if (of_node := failure_of(error)) is not None:
        return of_node
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        code = Exit.NOT_NOW if error.errno in _FULL else Exit.FAILED
        return CommandFailed(f"{where}{os.strerror(error.errno)}", exit_code=code)
    return CommandFailed(
        f"{type(error).__name__}: {error}",
        hint="this is a bug in Tidelog: run it again with --debug and report what it prints",
        reason="INTERNAL",
        exit_code=Exit.NOT_NOW,
        outcome="UNKNOWN",
    )


def _silence_stdout() -> None:
    """Send what is still buffered nowhere, or Python would complain about it at exit."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)

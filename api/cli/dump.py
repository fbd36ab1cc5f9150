"""`tidelog dump`: one file of a data directory, for people or as JSON lines."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from api.cli import dump_columns
from api.cli.state_rows import state_rows
from logstore import dump as files
from logstore.disk_posix import PosixDisk
from logstore.dump import Row
from logstore.paths import INDEX, LOG, TIMES, parse_offset
from model.errors import DirectoryRefused
from model.ids import Offset, Position
from model.ports import File
from tidelog.cli.failure import CommandFailed, Usage
from tidelog.cli.run import Run
from tidelog.cli.verb import Noun, Verb

MEMORY_BYTES_MAX: Final = 1 << 30
"""Index, times and journal files are read whole; none of ours is so large."""


@click.group(
    cls=Noun,
    examples=(
        "tidelog dump segment tidelog-data/partitions/4f...-0/00000000000000000000.log",
        "tidelog dump journal tidelog-data/journal/00000001.wal -F jsonl | jq .kind",
    ),
    coming=("raft",),
)
def dump() -> None:
    """Print a file of a data directory. Reads only; a node may be running."""


@dump.command(
    cls=Verb,
    columns=dump_columns.SEGMENT,
    lines=True,
    examples=("tidelog dump segment 00000000000000000000.log --records",),
)
@click.argument("file")
@click.option("--records", is_flag=True, help="Also print every record.")
@click.pass_obj
def segment(run: Run, file: str, *, records: bool) -> int:
    """Print the record batches of a .log FILE."""
    with _Opened(file) as opened:
        return _print(run, files.segment_rows(opened, records=records))


@dump.command(
    cls=Verb,
    columns=dump_columns.INDEX,
    lines=True,
    examples=("tidelog dump index 00000000000000000000.index",),
)
@click.argument("file")
@click.pass_obj
def index(run: Run, file: str) -> int:
    """Print the blocks of an .index FILE: offsets, positions, event-time bounds."""
    base = _base_offset(file, INDEX)
    return _print(run, files.index_rows(_whole(file), base))


@dump.command(
    cls=Verb,
    columns=dump_columns.TIMES,
    lines=True,
    examples=("tidelog dump times 00000000000000000000.times",),
)
@click.argument("file")
@click.pass_obj
def times(run: Run, file: str) -> int:
    """Print the append times of a .times FILE."""
    base = _base_offset(file, TIMES)
    return _print(run, files.times_rows(_whole(file), base))


@dump.command(
    cls=Verb,
    columns=dump_columns.JOURNAL,
    lines=True,
    examples=("tidelog dump journal tidelog-data/journal/00000001.wal",),
)
@click.argument("file")
@click.pass_obj
def journal(run: Run, file: str) -> int:
    """Print the entries of a journal FILE."""
    try:
        return _print(run, files.journal_rows(_whole(file)))
    except DirectoryRefused as refused:
        raise CommandFailed(refused.detail, exit_code=int(refused.exit_code)) from refused


@dump.command(
    cls=Verb,
    columns=dump_columns.STATE,
    lines=True,
    examples=("tidelog dump state 00000000000000010000.state",),
)
@click.argument("file")
@click.pass_obj
def state(run: Run, file: str) -> int:
    """Print the records of a .state FILE: what a coordinator knew."""
    try:
        return _print(run, state_rows(_whole(file)))
    except DirectoryRefused as refused:
        raise CommandFailed(refused.detail, exit_code=int(refused.exit_code)) from refused


class _Opened:
    """A file that is opened for reading, by its path."""

    def __init__(self, path: str) -> None:
        where = Path(path)
        if where.is_dir():
            raise Usage(f"{path} is a directory", hint=f"to check all of it: tidelog verify {path}")
        try:
            self._file = PosixDisk(str(where.parent), read_only=True).open(where.name)
        except OSError as error:
            raise CommandFailed(f"{path}: {error.strerror}", hint="check the path") from error

    def __enter__(self) -> File:
        return self._file

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _whole(path: str) -> bytes:
    with _Opened(path) as file:
        if file.size() > MEMORY_BYTES_MAX:
            raise CommandFailed(
                f"{path}: {file.size()} bytes",
                hint="none of these files is so large; is it a .log?",
            )
        return file.pread(file.size(), Position(0))


def _base_offset(path: str, ending: str) -> Offset:
    base = parse_offset(Path(path).name, ending)
    if base is None:
        raise Usage(
            f"{path} is not named like one of ours", hint=f"20 digits and {ending}, as in {LOG}"
        )
    return base


def _print(run: Run, rows: Iterator[Row]) -> int:
    """Write every row as it comes; exit 1 if one has a fault."""
    show: Callable[[Mapping[str, object]], str] = _line
    if run.is_json:
        from msgspec import json  # noqa: PLC0415

        show = lambda row: json.encode(row).decode()  # noqa: E731
    faults = 0
    for row in rows:
        faults += "fault" in row
        run.write(f"{show(row)}\n")
    if faults:
        run.tell_failure(CommandFailed(f"{faults} rows do not parse", hint=_WHAT_NOW))
    return 1 if faults else 0


_WHAT_NOW: Final = "a torn end is normal after a crash; tidelog verify tells the two apart"


def _line(row: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_cell(value)}" for name, value in row.items())


def _cell(value: object) -> str:
    text = "-" if value is None else str(value)
    return repr(text) if not text.isprintable() or " " in text else text

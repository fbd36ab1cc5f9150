"""`tidelog verify`: a data directory, offline. The one place of the second CRC-32C library."""

from collections.abc import Sequence
from dataclasses import asdict

import click
from crcmod.predefined import mkCrcFun

from api.cli.directory_check import DirectoryCheck, PartitionCheck, check_directory
from api.cli.no_directory import NoDataDirectory
from api.cli.overlay_disk import OverlayDisk
from logstore.disk_posix import PosixDisk
from logstore.recovery_report import Finding
from logstore.settings import LogSettings
from model.errors import DirectoryExit, DirectoryRefused
from tidelog.cli.failure import CommandFailed
from tidelog.cli.output import Column, Kind
from tidelog.cli.run import Run
from tidelog.cli.verb import Verb

COLUMNS = (
    Column("topic_id"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("log_start", Kind.INTEGER),
    Column("high_watermark", Kind.INTEGER, "HIGH-WATERMARK", wide=True),
    Column("log_end", Kind.INTEGER),
    Column("segments", Kind.INTEGER),
    Column("size_bytes", Kind.BYTES, "SIZE"),
    Column("batches", Kind.INTEGER),
    Column("epochs", Kind.LIST, about="[leader epoch, first offset] of each.", wide=True),
    Column("producers", Kind.INTEGER, wide=True),
    Column("state", about="sound, or damaged."),
    Column("faults", Kind.LIST, about="file, position, size_bytes, why", wide=True),
    Column("caches", Kind.LIST, about="the same, of what a start makes anew", wide=True),
)
DIRECTORY_COLUMNS = (
    Column("directory_id"),
    Column("cluster_id"),
    Column("node", Kind.INTEGER),
    Column("clean", Kind.BOOLEAN, about="The last stop was clean."),
    Column("sound", Kind.BOOLEAN, about="No data is damaged, nor the metadata."),
    Column("metadata", about="sound, or why a start would refuse metadata/."),
    Column("cut", Kind.LIST, about="What a start would drop: file, position, size_bytes, why."),
    Column("mended", Kind.LIST, about="The same, of what it would mend or note."),
    Column("stray", Kind.LIST, about="Partition directories that nothing speaks of."),
    Column("partitions", Kind.LIST, about="The columns of the table, for each partition."),
)

_HINTS = {
    DirectoryExit.FAILED: "a start would refuse it too; restore the named file from a copy",
    DirectoryExit.FENCED: "verify while no node uses the directory: stop the node first",
    DirectoryExit.NEWER_FORMAT: "verify it with the newer Tidelog that wrote it",
}


@click.command(
    cls=Verb,
    columns=DIRECTORY_COLUMNS,
    examples=("tidelog verify ./.tidelog", "tidelog verify tidelog-data --json"),
)
@click.argument("directory")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.pass_obj
def verify(run: Run, directory: str, *, as_json: bool) -> int:
    """Check every file of DIRECTORY while no node uses it. Changes nothing.

    Reads each record batch and its checksum, append times, indexes, leader epochs, producer state
    and the metadata, and tells what a start would cut after a crash. Exit 1 if data is damaged, or
    there is none of a node; if a start would refuse the directory, 11, 12 or 13, as it does.
    """
    if as_json:
        run.format = "json"
    try:
        disk = OverlayDisk(PosixDisk(directory, read_only=True))
        check = check_directory(
            disk, mkCrcFun("crc-32c"), journal_bytes=LogSettings().journal_file_bytes
        )
    except DirectoryRefused as refused:
        raise _refused(directory, refused) from refused
    except NoDataDirectory as nothing:
        raise CommandFailed(f"{directory}: {nothing}", hint=nothing.hint) from nothing
    except OSError as error:
        raise CommandFailed(
            f"{directory}: {error.strerror or error}", hint="name the data directory of a node"
        ) from error
    faults = [_failure(one, finding) for one in check.partitions for finding in one.faults]
    if check.metadata is not None:
        faults.append(_refused(directory, check.metadata))
    if run.is_json:
        code = run.items(DIRECTORY_COLUMNS, [_directory_item(check)], faults)
    else:
        code = run.items(COLUMNS, [_item(one) for one in check.partitions], faults)
        _tell(run, check)
    return code if check.metadata is None else int(check.metadata.exit_code)


def _refused(directory: str, refused: DirectoryRefused) -> CommandFailed:
    return CommandFailed(
        f"{directory}: {refused.detail}",
        hint=_HINTS[refused.exit_code],
        exit_code=int(refused.exit_code),
    )


def _item(one: PartitionCheck) -> dict[str, object]:
    plain = asdict(one)
    plain["state"] = "damaged" if one.faults else "sound"
    plain["faults"] = [finding._asdict() for finding in one.faults]
    plain["caches"] = [finding._asdict() for finding in one.caches]
    return plain


def _directory_item(check: DirectoryCheck) -> dict[str, object]:
    """Return the one item of the JSON form."""
    return {
        "directory_id": check.identity.directory.hex(),
        "cluster_id": check.identity.cluster_id,
        "node": check.identity.node,
        "clean": check.clean,
        "sound": check.is_sound,
        "metadata": "sound" if check.metadata is None else check.metadata.detail,
        "cut": [finding._asdict() for finding in check.cut],
        "mended": [finding._asdict() for finding in check.mended],
        "stray": check.stray,
        "partitions": [_item(one) for one in check.partitions],
    }


def _failure(one: PartitionCheck, finding: Finding) -> CommandFailed:
    return CommandFailed(
        f"{finding}",
        reason="CORRUPT_LOG",
        hint=f"offsets {one.log_start} to {one.log_end} of partition {one.partition}: copy the "
        "partition from an intact replica or backup",
    )


def _tell(run: Run, check: DirectoryCheck) -> None:
    """Say on stderr what the table has no place for."""
    how = "cleanly" if check.clean else "by a crash, or it is being copied"
    run.tell(f"node {check.identity.node} of cluster {check.identity.cluster_id}; stopped {how}")
    _list(run, "a start would cut", check.cut)
    _list(run, "a start would mend", check.mended)
    _list(run, "a start would make anew", [f for one in check.partitions for f in one.caches])
    for name in check.stray:
        run.warn(f"{name}: no checkpoint or journal entry knows this partition")
    if check.is_sound:
        run.tell("all data is sound")


def _list(run: Run, what: str, findings: Sequence[Finding]) -> None:
    for finding in findings:
        run.tell(f"{what}: {finding}")

"""Any bytes as one file of a log directory that is checked offline, as `tidelog verify` does.

The node's recovery runs over it too; nothing on the disk may change, and what is told is a finding.
"""

from typing import Any, Final, cast

from crcmod.predefined import mkCrcFun

from api.cli.directory_check import check_directory
from api.cli.overlay_disk import OverlayDisk
from logstore.paths import JOURNAL
from model.errors import DirectoryRefused
from tests.fuzz.fuzz_log_directory import SETTINGS, files, samples
from tests.fuzz.memory_disk import MemoryDisk

__all__ = ["fuzz", "samples"]

BASE_NS: Final = 60_000_000
"""The rest of the directory is checked too, whatever the input is."""
READS: Final = 6
"""By recovery, and by each check; with the second checksum, which is slower."""
CHECKSUM: Final = mkCrcFun("crc-32c")


def fuzz(data: bytes) -> None:
    """Check the directory with one file replaced: refused, or told what is wrong with it."""
    if not data:
        return
    whole, name = files()[data[0] % len(files())]
    content = data[1:]
    if name.startswith(JOURNAL):
        content = content.ljust(SETTINGS.journal_file_bytes, b"\0")
    below = MemoryDisk(whole, {name: content})
    try:
        check = check_directory(
            OverlayDisk(cast(Any, below)), CHECKSUM, journal_bytes=SETTINGS.journal_file_bytes
        )
    except DirectoryRefused:
        return
    finally:
        kept = below.content(name)
        assert kept == content, "a check has changed the directory"
    for partition in check.partitions:
        for finding in (*partition.faults, *partition.caches):
            assert finding.why, "a finding that says nothing"
            assert str(finding)
        assert partition.log_start <= partition.log_end, "it ends before it begins"

"""The file of a partition's leader epochs, where the log gets shorter.

It is a cache of the log, but it must never name an epoch that was cut off: once the log is longer
again, nobody could tell. Format: docs/formats/leader_epochs.md.
"""

from logstore.leader_epochs import decode
from logstore.paths import EPOCHS
from logstore.replace_file import read_file
from model.errors import MalformedError
from model.ids import Offset
from model.ports import Disk


def forget_epochs(disk: Disk, directory: str, end: Offset) -> bool:
    """Remove the file if it speaks of what begins at or above `end`; tell whether it went.

    Durable after a sync of the directory. Raises OSError.
    """
    name = f"{directory}/{EPOCHS}"
    file = read_file(disk, name)
    if file is None:
        return False
    try:
        newest = decode(file).rows[-1:]
    except MalformedError:
        newest = ()
    if newest and newest[0].start < end:
        return False
    disk.unlink(name)
    return True

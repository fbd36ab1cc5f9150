"""Whether the metadata of a node that is its whole cluster is all there (P46).

Nobody else has it: a log that is lost, or that an older copy has taken the place of, would be read
as "there are no topics", and what the partitions hold would be out of everybody's reach.
"""

from typing import Final

from cluster.controller.image import MetadataImage
from cluster.raft.entry_log import DIRECTORY
from cluster.raft.quorum_state import NAME
from cluster.shell.raft_opening import ALONE
from logstore.identity import Identity
from logstore.paths import IDENTITY
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import RegistrationEpoch
from model.ports import Disk

NEVER: Final = RegistrationEpoch(0)
"""A directory says so until its first registration is in the log."""


def check_is_there(disk: Disk, identity: Identity, *, remedy: str = ALONE) -> None:
    """Look for a log or a snapshot, where a registration must have been written to it.

    Reads names alone, before anything is written. `remedy`: what a refusal advises.

    Raises:
        DirectoryRefused: exit 11, there is none.
        OSError: the disk refused.
    """
    if identity.registration_epoch == NEVER:
        return
    try:
        names = disk.list(DIRECTORY)
    except FileNotFoundError:
        names = []
    if not any(not name.startswith(NAME) for name in names):
        raise _refused("has neither log nor snapshot", identity, remedy)


def check_reaches(image: MetadataImage, identity: Identity) -> None:
    """Hold the registration that the metadata know against the one that the directory remembers.

    Raises:
        DirectoryRefused: exit 11, they know an earlier one or none.
    """
    known = image.brokers.get(identity.node)
    epoch = NEVER if known is None else known.registration_epoch
    if epoch < identity.registration_epoch:
        raise _refused(f"knows registration {epoch} of this node", identity, ALONE)


def _refused(what: str, identity: Identity, remedy: str) -> DirectoryRefused:
    return DirectoryRefused(
        DirectoryExit.FAILED,
        f"{DIRECTORY}/ {what}, yet {IDENTITY} remembers registration "
        f"{identity.registration_epoch}: topics would be missing: {remedy}",
    )

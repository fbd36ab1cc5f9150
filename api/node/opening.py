"""Taking a log directory for this process: recovered, and known whose it is. Blocks."""

from typing import Final

from api.node.lone_metadata import check_is_there
from api.node.world import World
from api.settings import NodeSettings
from logstore.identity import UUID_BYTES, Identity
from logstore.identity import decode as decode_identity
from logstore.identity import encode as encode_identity
from logstore.log_directory import LogDirectory, Opened
from logstore.paths import IDENTITY
from logstore.replace_file import read_file, replace_file
from model.errors import MalformedError, StorageFailed
from model.ids import NodeId, RegistrationEpoch
from model.ports import Disk

CLUSTER_ID_BYTES: Final = 8


def open_directory(settings: NodeSettings, world: World) -> Opened:
    """Recover the directory and take it for this process.

    A directory that has an identity keeps its cluster, and is refused where the settings name
    another. An empty one begins a cluster of its own if they name none.

    Raises:
        DirectoryRefused: in use, another's, damaged, or of a newer format: nothing was changed.
        StorageFailed: the disk refused.
    """
    known = _known(world.disk)
    if known is not None and not settings.cluster.seed_list:  # before anything is changed
        check_is_there(world.disk, known)
    cluster_id = settings.cluster.id or (known.cluster_id if known is not None else None)
    wanted = Identity(
        world.rand.randbytes(UUID_BYTES),
        cluster_id or world.rand.randbytes(CLUSTER_ID_BYTES).hex(),
        NodeId(settings.node.id),
        RegistrationEpoch(0),
    )
    return LogDirectory.open(
        world.disk,
        settings.log,
        rand=world.rand,
        now_wall=world.clock.wall_ms(),
        identity=wanted,
    )


def remember(disk: Disk, identity: Identity) -> None:
    """Keep the registration epoch: a restored old image of the directory is told by it (P47)."""
    replace_file(disk, IDENTITY, encode_identity(identity))
    # SYNC: the next start must know what the controller was told.
    disk.sync_directory("")


def _known(disk: Disk) -> Identity | None:
    """Return whose the directory is; None: it is empty, or cannot be read."""
    try:
        file = read_file(disk, IDENTITY)
    except OSError as error:
        raise StorageFailed(IDENTITY, error.errno or 0, "open") from error
    if file is None:
        return None
    try:
        return decode_identity(file)
    except MalformedError:
        return None  # opening refuses the directory, and says why

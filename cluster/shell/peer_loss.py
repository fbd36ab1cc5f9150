"""How a link ended, as far as one can tell from here."""

from enum import Enum, unique


@unique
class Loss(Enum):
    """Why a link is no more; the value is what people are shown."""

    CLOSED = "closed by the other end"
    RESET = "reset"
    SILENT = "silent for too long"
    BROKEN = "broken on the way"
    REFUSED = "refused: what was said on it is not understood"
    REPLACED = "replaced by a newer one of the same node"
    LEFT = "given up here"

    @property
    def ended_there(self) -> bool:
        """The other kernel ended it, as it does when a process dies, is killed, or closes it.

        With a refusal of the next attempts this is as good as a death; silence never is.
        """
        return self in {Loss.CLOSED, Loss.RESET}


def loss_of(error: Exception | None) -> Loss:
    """Return how a connection ended that nobody here ended."""
    if error is None:
        return Loss.CLOSED
    if isinstance(error, ConnectionError):
        return Loss.RESET
    # ETIMEDOUT: the kernel has waited for an acknowledgement, as long as it was told to.
    return Loss.SILENT if isinstance(error, TimeoutError) else Loss.BROKEN

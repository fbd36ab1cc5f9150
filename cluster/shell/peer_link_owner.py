"""What a link tells whoever made it."""

from typing import Protocol, TypeVar

from cluster.peer.table import Frame
from model.ids import MonotonicMs, NodeId

LinkT_contra = TypeVar("LinkT_contra", contravariant=True)
"""`peer_link.PeerLink`, which knows this."""


class LinkOwner(Protocol[LinkT_contra]):
    """Whoever made a link. Calls come on the loop."""

    def opened(self, link: LinkT_contra) -> None:
        """The connection stands; nothing is proven."""
        ...

    def proven(self, link: LinkT_contra) -> None:
        """Both ends know each other: `link.link` says who the other one is."""
        ...

    def heard(self, node: NodeId, now: MonotonicMs) -> None:
        """Something came from a node that has proven itself."""
        ...

    def heard_at(self, node: NodeId) -> MonotonicMs:
        """Return when something last came from a node, on any link."""
        ...

    def took(self, link: LinkT_contra, frame: Frame) -> None:
        """The other end says or asks something.

        Raises:
            MalformedError: it cannot be read; the link ends.
        """
        ...

    def ended(self, link: LinkT_contra) -> None:
        """Nothing comes any more and nothing can be said: once for each link that was opened.

        `link.loss` says how; `link.refusal` which end refused what, if one did.
        """
        ...

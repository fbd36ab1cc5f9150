"""The answer to what was asked on a link: who is asked may give it at any time.

Invariants:
    PEER_ANSWER_CORRELATED  an answer has the number of what was asked, and is the only one.
"""

from cluster.peer.table import HEAD
from cluster.shell.peer_asks import no_room
from cluster.shell.peer_link import Parts, PeerLink


class Answer:
    """How what was asked on one link is answered: once, at any time; or never, if the link ends."""

    __slots__ = ("_correlation", "_given", "_link")

    def __init__(self, link: PeerLink, correlation: int) -> None:
        """Wait for the answer to that number."""
        self._link = link
        self._correlation = correlation
        self._given = False

    def __call__(self, frame: Parts) -> None:
        """Send a whole frame that has the number of the question; dropped if the link has ended.

        Where the other end takes so little that there is no room, the asker is told that instead:
        what clients read must not end what nodes tell each other. Only a link that has no room
        even for this is ended, so that nobody waits in vain.
        """
        first = frame if isinstance(frame, bytes | bytearray | memoryview) else frame[0]
        _, _, correlation = HEAD.unpack_from(first)
        assert correlation == self._correlation and not self._given, "PEER_ANSWER_CORRELATED"
        self._given = True
        if not self._link.say(frame) and not self._link.say(no_room(correlation)):
            self._link.leave()

"""What the disks of a run have ever held of terms and votes, held against who leads the quorum.

VOTES_ARE_DURABLE    no disk goes back to an older term, none that held a vote of a term holds
                     another one of it later, or none; whoever leads the quorum has the votes
                     of a majority on disks.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from api.sim.breach import Breach
from api.sim.disk import SimDisk
from api.sim.platter import DirectoryNode, FileNode
from cluster.raft.entry_log import DIRECTORY
from cluster.raft.quorum_state import NAME, decode
from model.errors import DirectoryRefused, MalformedError

NOBODY: Final = 0
"""No machine has this number."""


class Vote(NamedTuple):
    """What a disk holds."""

    term: int
    to: int
    """A machine, or `NOBODY`."""


NOTHING: Final = Vote(-1, NOBODY)
"""There is no vote file, or it is damaged."""


class Votes:
    """See the module."""

    def __init__(self, disks: Mapping[int, SimDisk]) -> None:
        """Begin with nothing seen."""
        self._disks = disks
        self._files: dict[int, bytes | None] = dict.fromkeys(disks)
        self._newest = dict.fromkeys(disks, NOTHING)
        self._given: dict[tuple[int, int], int] = {}
        """Machine and term to whom it voted for in it."""

    def look(self, number: int) -> None:
        """Look at what a machine would know if its power went now, and nothing pending stayed.

        Raises:
            Breach: it has forgotten something.
        """
        file = durable_file(self._disks[number])
        if file is self._files[number]:
            return  # the same object while nothing has changed
        self._files[number] = file
        now, before = vote_of(file), self._newest[number]
        given = self._given.get((number, now.term), now.to)
        if now.term < before.term or now.to != given:
            seen = f"the disk of node {number} has {now}, and had {before}; 0: nobody"
            raise Breach("VOTES_ARE_DURABLE", seen)
        self._newest[number] = now
        if now.to != NOBODY:
            self._given[number, now.term] = now.to

    def leads(self, leader: int, term: int) -> None:
        """A node leads the quorum.

        Raises:
            Breach: the disks know of no majority that voted for it.
        """
        for number in self._disks:
            self.look(number)
        holding = [number for number in self._disks if self._holds(number, leader, term)]
        if len(holding) <= len(self._disks) // 2:
            seen = f"node {leader} leads in term {term}; on the disks are {self._newest}"
            raise Breach("VOTES_ARE_DURABLE", seen)

    def _holds(self, number: int, leader: int, term: int) -> bool:
        """Tell whether a machine can vote for nobody else in a term.

        It may know a newer term and not whom it voted for in this one: both came to it at once,
        and it said so only when the newer term was durable.
        """
        newest = self._newest[number]
        if newest.term == term:
            return newest.to == leader
        return newest.term > term and self._given.get((number, term), leader) == leader


def durable_file(disk: SimDisk) -> bytes | None:
    """Return the durable content of a machine's vote file, None if there is none."""
    directory = disk.platter.root.durable.get(DIRECTORY)
    if not isinstance(directory, DirectoryNode):
        return None
    file = directory.durable.get(NAME)
    return file.durable() if isinstance(file, FileNode) else None


def vote_of(file: bytes | None) -> Vote:
    """Return what a vote file says."""
    try:
        state = decode(file or b"")
    except (MalformedError, DirectoryRefused):
        return NOTHING
    return Vote(int(state.term), NOBODY if state.voted_for is None else int(state.voted_for))

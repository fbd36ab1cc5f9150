"""Any bytes as the vote of a member of the controller quorum."""

from cluster.raft.quorum_state import QuorumState, decode, encode
from cluster.raft.voters import Voter
from model.errors import DirectoryRefused, MalformedError
from model.ids import NodeId, Term
from tests.fuzz.sealing import sealed_at_end


def samples() -> list[bytes]:
    """Return votes in quorums of one and of three."""
    voters = tuple(Voter(NodeId(number), bytes([number]) * 16) for number in range(3))
    return [
        encode(QuorumState(term=Term(4), voted_for=vote, directory=bytes(16), voters=some))
        for vote, some in ((None, voters[:1]), (NodeId(2), voters))
    ]


def fuzz(data: bytes) -> None:
    """Read the file as it is, and with its checksum made right."""
    for file in (data, sealed_at_end(data)):
        try:
            state = decode(file)
        except (MalformedError, DirectoryRefused):
            continue
        assert encode(state) == file, "not what was read"

"""Who gets a vote, and who would."""

from cluster.raft.member import Member
from cluster.raft.messages import PreVoteReply, PreVoteRequest, VoteReply, VoteRequest


def is_disturbing(member: Member, request: VoteRequest) -> bool:
    """Tell whether a candidate is not even heard: there is a leader, and it is well.

    Without this a member that was cut off for a while would come back with a newer term and
    depose the leader (Raft dissertation, 4.2.3). The leader's own wish is another matter.
    """
    return member.believes and not request.transferred


def answer_vote(member: Member, request: VoteRequest) -> None:
    """Vote or refuse, in the term of the request, which is the member's own by now."""
    free = member.voted_for in {None, request.source}
    granted = free and member.log.up_to_date(request.last_index, request.last_term)
    if granted:
        member.vote(request.source)
    member.send(VoteReply(member.me, request.source, member.term, granted))


def answer_pre_vote(member: Member, request: PreVoteRequest) -> bool:
    """Say whether the asker would get a vote; return what was said. Nothing changes by it."""
    granted = (
        request.term > member.term
        and not member.believes
        and member.log.up_to_date(request.last_index, request.last_term)
    )
    term = request.term if granted else member.term
    member.send(PreVoteReply(member.me, request.source, term, granted))
    return granted

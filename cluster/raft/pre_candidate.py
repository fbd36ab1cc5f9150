"""The role of who asks whether an election would be won, before it disturbs anybody with one."""

from cluster.raft.member import Become, Member
from cluster.raft.messages import Message, PreVoteReply, PreVoteRequest
from cluster.raft.quorum import Tally, majority_vote
from cluster.raft.voters import Voter
from model.ids import Term


class PreCandidate:
    """Campaigns once a majority would vote for it (Raft dissertation, 9.6)."""

    __slots__ = ("_member", "_votes")

    def __init__(self, member: Member) -> None:
        """Begin with one's own vote."""
        self._member = member
        self._votes: dict[Voter, bool] = {member.me: True}

    def begin(self) -> Become | None:
        """Ask everybody; who is the only voter need not wait."""
        self._member.restart_timer()
        self._member.leader = None
        self._ask()
        return self._outcome()

    def tick(self) -> Become | None:
        """Ask again whoever has not said yes, for words are lost and minds change; or give up."""
        self._member.elapsed += 1
        if self._member.elapsed >= self._member.timeout:
            return Become.FOLLOWER if not self._member.may_campaign else Become.PRE_CANDIDATE
        self._ask()
        return None

    def step(self, message: Message) -> Become | None:
        """Count an answer to what was asked."""
        if isinstance(message, PreVoteReply):
            if not message.granted or message.term == self._member.term + 1:
                self._votes[message.source] = message.granted
            return self._outcome()
        return None

    def yields_to(self, request: PreVoteRequest) -> bool:
        """Tell whether another's campaign is the better one; then this one only splits votes.

        Members notice a death at the same time, so it is usual that two ask at once.
        """
        log, me = self._member.log, self._member.me
        theirs = (request.last_term, request.last_index)
        mine = (log.last_term, log.last_index)
        return theirs > mine or (theirs == mine and request.source.node < me.node)

    def _outcome(self) -> Become | None:
        """Return the next role. Who is refused goes on asking until its time is over."""
        tally = majority_vote(self._member.configuration.voters, self._votes)
        return Become.CANDIDATE if tally is Tally.WON else None

    def _ask(self) -> None:
        member = self._member
        log, term = member.log, Term(member.term + 1)
        for voter in member.configuration.voters:
            if not self._votes.get(voter, False):
                member.send(PreVoteRequest(member.me, voter, term, log.last_index, log.last_term))

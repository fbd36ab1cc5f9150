"""The role of who wants to lead in a new term."""

from cluster.raft.member import Become, Member
from cluster.raft.messages import Message, VoteReply, VoteRequest
from cluster.raft.quorum import Tally, majority_vote
from cluster.raft.voters import Voter
from model.ids import Term


class Candidate:
    """Leads once a majority has voted for it (Raft 5.2)."""

    __slots__ = ("_member", "_transferred", "_votes")

    def __init__(self, member: Member, *, transferred: bool) -> None:
        """Begin with one's own vote; `transferred`: the leader has asked for it."""
        self._member = member
        self._transferred = transferred
        self._votes: dict[Voter, bool] = {member.me: True}

    def begin(self) -> Become | None:
        """Enter a new term and ask for votes: they leave when term and own vote are durable."""
        member = self._member
        member.lose_forwarded_reads()
        member.enter(Term(member.term + 1))
        member.vote(member.me)
        self._ask()
        return self._outcome()

    def tick(self) -> Become | None:
        """Ask again whoever has not answered; try anew, from the start, when time is over."""
        self._member.elapsed += 1
        if self._member.elapsed >= self._member.timeout:
            return Become.PRE_CANDIDATE if self._member.may_campaign else Become.FOLLOWER
        self._ask()
        return None

    def step(self, message: Message) -> Become | None:
        """Count a vote of this term."""
        if isinstance(message, VoteReply):
            self._votes.setdefault(message.source, message.granted)
            return self._outcome()
        return None

    def _outcome(self) -> Become | None:
        match majority_vote(self._member.configuration.voters, self._votes):
            case Tally.WON:
                return Become.LEADER
            case Tally.LOST:
                return Become.FOLLOWER
            case Tally.OPEN:
                return None

    def _ask(self) -> None:
        member, log = self._member, self._member.log
        for voter in member.configuration.voters:
            if voter not in self._votes:
                member.send(
                    VoteRequest(
                        member.me,
                        voter,
                        member.term,
                        last_index=log.last_index,
                        last_term=log.last_term,
                        transferred=self._transferred,
                    )
                )

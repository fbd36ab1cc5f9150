"""How a node comes by its quorum: from its directory, or from the seeds, by what they all answer.

    book = QuorumBook(disk, run_blocking, me)
    bootstrap = Bootstrap(...)                     its `seed_answer` is what ControllerFrames says
    links.subscribe(bootstrap)                     a seed may be of another cluster
    voters = await bootstrap.voters()              for `RaftQuorum.open`
    bootstrap.follows(quorum)                      what seeds are told from then on

The rule is `cluster.controller.bootstrap`: a cluster forms only of seeds that are all there and all
empty. The voters are written down before anything is founded, in the file that holds the member's
term and vote, so a node that has founded once never founds again, whatever its seeds say.

Seeds are dialled for as long as the node runs: until others have registered, they are the only
addresses that it has, and afterwards their links are those of the nodes they reach.
"""

from asyncio import gather
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from cluster.controller.answer_frames import decode as decode_answer
from cluster.controller.bootstrap import Answer, Empty, Form, Founder, Join, Member, next_step
from cluster.controller.registration import RegistrationRefused
from cluster.controller.request_frames import AskSeed
from cluster.controller.request_frames import encode as encode_request
from cluster.peer.hello import LinkRefused, Reason
from cluster.peer.table import Frame
from cluster.raft.entry_log import DIRECTORY
from cluster.raft.quorum_state import NAME, QuorumState, load, save
from cluster.raft.voters import Voter
from cluster.shell.controller_doors import Note, pause
from cluster.shell.peer_asks import Encode
from cluster.shell.peer_links import LinkEvents
from cluster.shell.peer_network import Address
from cluster.shell.raft_doors import RunBlocking
from cluster.shell.raft_opening import AMONG_OTHERS
from cluster.shell.raft_quorum import RaftQuorum
from model.errors import DirectoryExit, DirectoryRefused, MalformedError, RequestError
from model.ids import Term
from model.ports import Clock, Disk

SEED_ANSWER_MS: Final = 1_000
AGAIN_MS: Final = 200
"""Between two rounds of asking all seeds."""
NOTED_ROUNDS: Final = 25
"""Rounds between two notes of the same that is waited for: about every five seconds."""


class SeedLinks(Protocol):
    """What is needed of `cluster.shell.peer_links.PeerLinks`."""

    def dial_seed(self, address: Address) -> None:
        """Reach whoever answers at an address."""
        ...

    async def ask_seed(self, address: Address, encode: Encode, *, timeout_ms: int) -> Frame:
        """Return the answer of whoever is there."""
        ...


class QuorumBook:
    """Whom this directory knows as the quorum, before any log says; see the module."""

    def __init__(
        self, disk: Disk, run_blocking: RunBlocking, me: Voter, *, has_asked: bool = False
    ) -> None:
        """Read nothing yet. `has_asked`: this directory has asked to be registered before.

        Then it had written its voters down: who finds none has lost what it may have voted.
        """
        self._disk = disk
        self._run_blocking = run_blocking
        self._me = me
        self._has_asked = has_asked

    async def read(self) -> tuple[Voter, ...]:
        """Return the voters that are written down; none: the directory has no metadata.

        Raises:
            DirectoryRefused: the file is damaged or lost (exit 11), or newer (exit 13).
            OSError: the disk refused.
        """
        try:
            voters = await self._run_blocking(partial(_read, self._disk))
        except DirectoryRefused as refused:
            if refused.exit_code is not DirectoryExit.FAILED:
                raise
            detail = f"{refused.detail}: {AMONG_OTHERS}"
            raise DirectoryRefused(refused.exit_code, detail) from refused
        if not voters and self._has_asked:
            detail = f"{DIRECTORY}/{NAME} is missing, so this node may not vote: {AMONG_OTHERS}"
            raise DirectoryRefused(DirectoryExit.FAILED, detail)
        return voters

    async def write(self, voters: tuple[Voter, ...]) -> None:
        """Write the voters down, durably.

        Raises:
            OSError: the disk refused.
        """
        await self._run_blocking(partial(_write, self._disk, self._me, voters))


class Bootstrap(LinkEvents):
    """See the module. Loop only."""

    def __init__(
        self,
        links: SeedLinks,
        book: QuorumBook,
        me: Empty,
        *,
        seeds: Sequence[Address],
        clock: Clock,
        note: Note,
    ) -> None:
        """`me`: what this node answers while it is empty. The links are routed already."""
        self._links = links
        self._book = book
        self._me = me
        self._seeds = {str(seed): seed for seed in seeds}
        self._clock = clock
        self._note = note
        self._voters: Callable[[], tuple[Voter, ...]] = lambda: ()
        self._foreign: tuple[Address, LinkRefused] | None = None
        """A seed with which there can be no link, being of another cluster."""

    def seed_answer(self) -> Answer:
        """Return what this node says to who looks for a quorum."""
        voters = self._voters()
        if not voters:
            return self._me
        return Member(self._me.cluster_id, tuple(Founder(*voter) for voter in voters))

    def barred(self, address: Address, refusal: LinkRefused) -> None:
        """A link is refused; nobody who is of another cluster answers anything."""
        if refusal.reason is Reason.CLUSTER and str(address) in self._seeds:
            self._foreign = address, refusal

    def follows(self, quorum: RaftQuorum) -> None:
        """Tell seeds from now on what the quorum's newest configuration says."""
        self._voters = lambda: quorum.configuration.voters

    async def voters(self) -> tuple[Voter, ...]:
        """Return whom this node takes for the quorum; itself among them if it founds it.

        Raises:
            DirectoryRefused: exit 12, a seed is of another cluster, or two nodes have one id; what
                `QuorumBook.read` raises.
            OSError: the disk refused.
        """
        for seed in self._seeds.values():
            self._links.dial_seed(seed)
        voters = await self._book.read()
        if not voters:
            voters = await self._agreed()
            await self._book.write(voters)
        self._voters = lambda: voters
        return voters

    async def _agreed(self) -> tuple[Voter, ...]:
        """Ask all seeds, again and again, until there is something to do."""
        rounds, missing = 0, None
        while True:
            answers = await self._answers()
            if self._foreign is not None:
                address, why = self._foreign
                detail = f"the seed {address} is of another cluster: {why}; check cluster.id"
                raise DirectoryRefused(DirectoryExit.FENCED, detail)
            try:
                step = next_step(self._me, list(self._seeds), answers)
            except RegistrationRefused as refused:
                raise DirectoryRefused(refused.exit_code, refused.detail) from refused
            if isinstance(step, Form):
                self._note("quorum_founded", voters=_named(step.voters))
                return tuple(Voter(*founder) for founder in step.voters)
            if isinstance(step, Join):
                member = answers[step.addresses[0]]
                assert isinstance(member, Member), "BOOTSTRAP_JOINS_A_MEMBER"
                self._note("quorum_joined", voters=_named(member.voters))
                return tuple(Voter(*founder) for founder in member.voters)
            if rounds % NOTED_ROUNDS == 0 or step.missing != missing:
                missing = step.missing
                self._note("quorum_awaited", missing=", ".join(missing) or "the seeds")
            rounds += 1
            await pause(self._clock, AGAIN_MS)

    async def _answers(self) -> Mapping[str, Answer]:
        """Return what the seeds answer in one round; all of it is of this round."""
        told = await gather(*map(self._answer, self._seeds.values()))
        return {
            name: answer
            for name, answer in zip(self._seeds, told, strict=True)
            if answer is not None
        }

    async def _answer(self, seed: Address) -> Answer | None:
        encode = partial(encode_request, AskSeed())
        try:
            frame = await self._links.ask_seed(seed, encode, timeout_ms=SEED_ANSWER_MS)
            told = decode_answer(frame)
        except (RequestError, MalformedError):
            return None  # it is missing in this round
        return told if isinstance(told, Empty | Member) else None


def _read(disk: Disk) -> tuple[Voter, ...]:
    state = load(disk, DIRECTORY)
    return () if state is None else state.voters


def _write(disk: Disk, me: Voter, voters: tuple[Voter, ...]) -> None:
    disk.make_directory(DIRECTORY)
    # SYNC: the file counts once its directory does.
    disk.sync_directory("")
    state = QuorumState(term=Term(0), voted_for=None, directory=me.directory, voters=voters)
    save(disk, DIRECTORY, state)


def _named(voters: Sequence[Founder]) -> str:
    return ", ".join(f"node {voter.node}" for voter in voters)

"""One question to the controllers for all who ask at about the same time.

`QuorumPort.read_barrier` is a round through the quorum, and few of them may be under way. Who comes
while one is cannot share it, for it may have been answered already: all of those share the next.
"""

from asyncio import Lock
from typing import NamedTuple

from cluster.controller.port import QuorumPort
from cluster.shell.raft_waiting import same
from model.errors import ErrorCode, RequestError


class _Answer(NamedTuple):
    number: int
    refusal: RequestError | None


class SharedBarrier:
    """See the module. Loop only."""

    __slots__ = ("_asking", "_begun", "_last", "_quorum")

    def __init__(self, quorum: QuorumPort) -> None:
        """Nothing was asked."""
        self._quorum = quorum
        self._asking = Lock()
        self._begun = 0
        self._last = _Answer(0, None)

    async def passed(self) -> None:
        """Return once `image` holds every change that anybody was told of before this call.

        Raises:
            RequestError: what `read_barrier` raises.
        """
        needed = self._begun + 1
        async with self._asking:
            if self._last.number < needed:
                await self._ask()
            refusal = self._last.refusal
            if refusal is not None:
                raise same(refusal)

    async def confirmed(self, where: str) -> None:
        """Return once `passed`, for who is to be told that this node still coordinates a partition.

        Raises:
            RequestError: COORDINATOR_LOADING: nobody can tell; `where` names what is meant.
        """
        try:
            await self.passed()
        except RequestError as unconfirmed:
            raise RequestError(
                ErrorCode.COORDINATOR_LOADING,
                f"nobody confirms that this node still coordinates what is in {where}: "
                f"{unconfirmed.detail}; ask again",
            ) from unconfirmed

    async def _ask(self) -> None:
        self._begun += 1
        number, refusal = self._begun, None
        try:
            await self._quorum.read_barrier()
        except RequestError as refused:
            refusal = refused
        self._last = _Answer(number, refusal)

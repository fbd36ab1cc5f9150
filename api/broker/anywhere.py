"""Reading and finding places in partitions whoever leads them: what a group's coordinator does.

Its members are given partitions that other nodes lead; who coordinates reads for them, at their
leaders. The replica here, if there is one, tells when there is news. While a leadership moves there
is nothing to read, and nothing is wrong.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from api.broker.forward import passing
from api.broker.place import Place
from api.broker.read_on import Read, ReadFrom, ReadOn, Step
from api.broker.resolve import Resolve, Resolved
from cluster.shell.controller_doors import pause
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs
from model.principal import Principal

AGAIN_MS: Final = 100
"""Until leaders are asked again that could not answer."""
PASSING: Final = frozenset(
    {
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.NODE_UNREACHABLE,
        ErrorCode.UPSTREAM_LOST,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.OVERLOADED,
    }
)


class RemoteReads(Protocol):
    """The way to other leaders."""

    async def read(
        self, principal: Principal, places: Sequence[ReadFrom], *, max_bytes: int
    ) -> list[Read]:
        """Return what each leader says of these places, in order, without waiting for more."""
        ...

    async def resolve(
        self, principal: Principal, partition: HostedPartition, place: Place
    ) -> Resolved:
        """Return where a place lies, as the leader says.

        Raises:
            RequestError: its refusal, or that of the way to it.
        """
        ...


class ReadAnywhere(ReadOn):
    """`ReadOn` that goes to other leaders too. It does not wait for what they have."""

    remote: RemoteReads | None = None
    """None: there are no other nodes."""

    async def __call__(
        self,
        principal: Principal,
        places: Sequence[ReadFrom | RequestError],
        *,
        min_bytes: int,
        max_bytes: int,
        max_wait_ms: int,
    ) -> list[Read]:
        """Return what became of each place; see `ReadOn`."""
        remote = self.remote
        away = {
            slot: place
            for slot, place in enumerate(places)
            if remote is not None and isinstance(place, ReadFrom) and not place.partition.serves
        }
        if remote is None or not away:
            return await super().__call__(
                principal,
                places,
                min_bytes=min_bytes,
                max_bytes=max_bytes,
                max_wait_ms=max_wait_ms,
            )
        found: dict[int, Read] = {}
        here = {slot: place for slot, place in enumerate(places) if slot not in away}
        if here:
            read = await super().__call__(
                principal, list(here.values()), min_bytes=0, max_bytes=max_bytes, max_wait_ms=0
            )
            found.update(zip(here, read, strict=True))
        told = await remote.read(principal, list(away.values()), max_bytes=max_bytes)
        passed = False
        for (slot, place), one in zip(away.items(), told, strict=True):
            found[slot] = one
            if isinstance(one, RequestError) and passing(one).code in PASSING:
                found[slot] = _nothing(place)
                passed = True
        if passed:
            await pause(self._node.clock, AGAIN_MS)
        return [found[slot] for slot in range(len(places))]


class ResolveAnywhere(Resolve):
    """`Resolve` that asks other leaders too."""

    remote: RemoteReads | None = None
    """None: there are no other nodes."""

    async def __call__(
        self, principal: Principal, partition: HostedPartition, place: Place
    ) -> Resolved:
        """Find the place; see `Resolve`."""
        remote = self.remote
        if remote is None or partition.leads:
            return await super().__call__(principal, partition, place)
        return await remote.resolve(principal, partition, place)


def _nothing(place: ReadFrom) -> Step:
    """Return a sign of life from a partition of which nobody can tell anything now."""
    partition = place.partition
    return Step(
        partition,
        place.offset,
        (),
        place.offset,
        partition.log_start,
        partition.high_watermark,
        partition.last_stable_offset,
        AppendTimeMs(0),
    )

"""Reading and finding places in partitions whoever leads them: what a group's coordinator does.

Its members are given partitions that other nodes lead; who coordinates reads for them, at their
leaders. The replica here, if there is one, tells when there is news. While a leadership moves there
is nothing to read, and nothing is wrong.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from api.broker.answer_room import AnswerRoom
from api.broker.context import BrokerContext
from api.broker.distant import DistantPartition
from api.broker.every_partition import EveryPartition
from api.broker.fetch import Fetch
from api.broker.forward import passing
from api.broker.place import Place
from api.broker.read_on import Read, ReadFrom, ReadOn, Step
from api.broker.readable import Readable
from api.broker.resolve import Resolve, Resolved
from api.broker.search import Searches
from cluster.shell.controller_doors import pause
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, PartitionId
from model.principal import Principal

AGAIN_MS: Final = 100
"""Until leaders are asked again that could not answer, or know of less than the reader does."""
IDLE_MS: Final = 10
"""Until they are asked again that had nothing: a replica here may be behind for long."""
PASSING: Final = frozenset(
    {
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.UNKNOWN_EPOCH,
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

    async def resolve(self, principal: Principal, partition: Readable, place: Place) -> Resolved:
        """Return where a place lies, as the leader says.

        Raises:
            RequestError: its refusal, or that of the way to it.
        """
        ...

    async def resolve_all(
        self, principal: Principal, partitions: Sequence[Readable], place: Place
    ) -> list[Resolved | RequestError]:
        """Return the same of many, in order; each leader is asked once."""
        ...

    async def ends(
        self, partitions: Sequence[DistantPartition]
    ) -> Sequence[Resolved | RequestError]:
        """Return how far some partitions go; asked by the node itself."""
        ...


class ReadAnywhere(ReadOn):
    """`ReadOn` that goes to other leaders too. It does not wait for what they have."""

    def __init__(
        self, context: BrokerContext, fetch: Fetch, searches: Searches, *, every: EveryPartition
    ) -> None:
        """Read here; elsewhere once `remote` is set. What leaders tell is noted in `every`."""
        super().__init__(context, fetch, searches)
        self._every = every
        self.remote: RemoteReads | None = None
        """None: there are no other nodes."""

    async def __call__(
        self,
        principal: Principal,
        places: Sequence[ReadFrom | RequestError],
        *,
        min_bytes: int,
        max_bytes: int,
        max_wait_ms: int,
        room: AnswerRoom | None = None,
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
                room=room,
            )
        found: dict[int, Read] = {}
        here = {slot: place for slot, place in enumerate(places) if slot not in away}
        if here:
            read = await super().__call__(
                principal, list(here.values()), min_bytes=0, max_bytes=max_bytes, max_wait_ms=0
            )
            found.update(zip(here, read, strict=True))
        told = await remote.read(principal, list(away.values()), max_bytes=max_bytes)
        later = False
        for (slot, place), one in zip(away.items(), told, strict=True):
            found[slot] = one
            if isinstance(one, RequestError) and passing(one).code in PASSING:
                found[slot] = _nothing(place)
                later = True
            elif isinstance(one, Step):
                self._note(one)
                later |= one.high_watermark < place.offset
        if not any(map(_tells_something, found.values())):
            await pause(self._node.clock, AGAIN_MS if later else IDLE_MS)
        return [found[slot] for slot in range(len(places))]

    def _note(self, step: Step) -> None:
        """Remember how far a leader has come: a replica here would hear of it later."""
        partition = step.partition
        if isinstance(partition, DistantPartition):
            partition.told(step.log_start, step.high_watermark, step.last_stable_offset)
        self._every.told(partition, step.high_watermark)


class ResolveAnywhere(Resolve):
    """`Resolve` that asks other leaders too."""

    def __init__(self, context: BrokerContext, searches: Searches, every: EveryPartition) -> None:
        """Look here; elsewhere once `remote` is set. What leaders tell is noted in `every`."""
        super().__init__(context, searches)
        self._every = every
        self.remote: RemoteReads | None = None
        """None: there are no other nodes."""

    async def __call__(self, principal: Principal, partition: Readable, place: Place) -> Resolved:
        """Find the place; see `Resolve`.

        Raises:
            RequestError: as `Resolve`, but who asks need not know who leads: while a leadership
                moves it is LEADER_NOT_AVAILABLE.
        """
        remote = self.remote
        if remote is None:
            return await super().__call__(principal, partition, place)
        try:
            if _is_led_here(partition):
                return await super().__call__(principal, partition, place)
            found = await remote.resolve(principal, partition, place)
        except RequestError as refusal:
            raise passing(refusal) from refusal
        self._every.told(partition, found.high_watermark)
        return found

    async def each(
        self, principal: Principal, partitions: Sequence[Readable], place: Place
    ) -> list[Resolved | RequestError]:
        """Find the same place in several partitions; each other leader is asked once."""
        remote = self.remote
        away = [one for one in partitions if not _is_led_here(one)]
        if remote is None or not away:
            return await super().each(principal, partitions, place)
        told: dict[PartitionId, Resolved | RequestError] = {}
        for one, said in zip(away, await remote.resolve_all(principal, away, place), strict=True):
            if isinstance(said, Resolved):
                self._every.told(one, said.high_watermark)
            told[one.id] = passing(said) if isinstance(said, RequestError) else said
        here = [one for one in partitions if one.id not in told]
        told |= zip(
            [one.id for one in here], await super().each(principal, here, place), strict=True
        )
        return [told[one.id] for one in partitions]


def _is_led_here(partition: Readable) -> bool:
    return isinstance(partition, HostedPartition) and partition.leads


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
        is_told=False,
    )


def _tells_something(read: Read) -> bool:
    return not isinstance(read, Step) or read.next_offset > read.start_offset

"""The client: one connection, and everything that is done over it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tidelog.arguments import codec_of
from tidelog.auth import Auth
from tidelog.batch import can_build
from tidelog.checkpoint import Checkpoint
from tidelog.clock import SystemClock
from tidelog.cluster_map import Cluster
from tidelog.codecs import BYTES, Codec
from tidelog.compression import has, need
from tidelog.connection import Connection, parse_url
from tidelog.errors import not_built
from tidelog.places import isolation_of
from tidelog.producer_settings import (
    BATCH_BYTES,
    BUFFER_BYTES,
    LINGER,
    Acks,
    ProducerSettings,
    Timestamps,
)
from tidelog.replay_request import check_resume, subscribe_request
from tidelog.retry import Retry
from tidelog.topics import Topics
from tidelog.types import Clock, Compression, Isolation, K, Order, Start, TimeRange, V

if TYPE_CHECKING:
    from tidelog.consumer import Consumer, Told
    from tidelog.group_types import CommitMode
    from tidelog.groups import Groups
    from tidelog.producer import Producer
    from tidelog.replay import Gaps, Replay
    from tidelog.topic_sizes import TopicSizes

DEFAULT_URL: Final = "tidelog://localhost:9095"
DEFAULT_CODEC: Final[Any] = BYTES  # what K and V are without a codec: bytes (PEP 696)


def connect(
    url: str = DEFAULT_URL,
    *,
    auth: Auth | None = None,
    client_id: str = "",
    retry: Retry | None = None,
) -> "Client":
    """Return a client of the cluster at `tidelog://host:port,host:port`; use it in `async with`.

    Any nodes will do. `tidelogs://` goes over TLS. `client_id`: what the node's logs call you.
    `retry`: how long a call may take with all its tries; 2 minutes unless you say otherwise.

    Raises:
        ValueError: an address that is none; proof of identity without TLS.
        TypeError: no text, or no `Retry`.
    """
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry is {retry!r}; pass a Retry, such as Retry(total=timedelta(0))")
    connection = Connection(
        parse_url(url),
        auth=auth,
        client_id=client_id,
        retry=retry or Retry(),
        clock=SystemClock(),
        chance=Random(),  # noqa: S311 - spreads load and waits, keeps no secret
    )
    return Client(connection)


class Client(AbstractAsyncContextManager["Client"]):
    """A cluster, as seen from here. Belongs to the event loop in which it is used."""

    def __init__(self, connection: Connection) -> None:
        """Take the way to the cluster; `tidelog.connect` makes it."""
        self._connection = connection
        self._sizes: TopicSizes | None = None
        """Shared by the producers."""
        self.topics = Topics(connection)
        self.cluster = Cluster(connection)

    async def __aenter__(self) -> "Client":
        """Begin; nothing is sent yet."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the connection."""
        if self._sizes is not None:
            self._sizes.close()
        await self._connection.close()

    @property
    def connection(self) -> Connection:
        """The way to the cluster, for a call of `tidelog.v1` that has no method here yet."""
        return self._connection

    async def ready(self, within: timedelta) -> None:
        """Wait until a node can be reached.

        Raises:
            ConnectError: none could, in that time.
        """
        retry = Retry(total=within, maximum=timedelta(milliseconds=500))
        await self._connection.ready(self._connection.budget(retry))

    def producer(  # noqa: PLR0913 - options, each by its name
        self,
        *,
        key: Codec[K] = DEFAULT_CODEC,
        value: Codec[V] = DEFAULT_CODEC,
        acks: Acks = "all",
        idempotent: bool | None = None,
        linger: timedelta = LINGER,
        batch_bytes: int = BATCH_BYTES,
        compression: Compression | None = None,
        max_in_flight_bytes: int = BUFFER_BYTES,
        timestamps: Timestamps = "floor",
    ) -> "Producer[K, V]":
        """Return a producer; use it in `async with`.

        `acks`: "all" is on disk, "leader" is in the leader's log, "none" waits for nothing.
        `idempotent`: each record is in the log once, however often it was sent; on with
        acks="all". `linger`: how long a record waits for others to share its batch. `compression`:
        zstd where the extra `speed` is installed, else none. `max_in_flight_bytes`: what may wait
        for acks before `send` and `enqueue` wait too. `timestamps`: the log keeps milliseconds;
        "floor" rounds finer times down, "strict" refuses them.

        Raises:
            ValueError: a setting that cannot be, or a codec that is not installed.
        """
        from tidelog.producer import Producer  # noqa: PLC0415 - administration needs none
        from tidelog.topic_sizes import TopicSizes  # noqa: PLC0415

        self._sizes = self._sizes or TopicSizes(self._connection)
        settings = ProducerSettings(
            acks=acks,
            idempotent=idempotent,
            linger=linger,
            batch_bytes=batch_bytes,
            compression=_compression(compression),
            buffer_bytes=max_in_flight_bytes,
            timestamps=timestamps,
        )
        return Producer(
            self._connection,
            self._sizes,
            settings,
            key=codec_of("key", key),
            value=codec_of("value", value),
        )

    def replay(  # noqa: PLR0913 - options, each by its name
        self,
        *topics: str,
        during: TimeRange | None = None,
        start: Start = "earliest",
        stop: Start | None = None,
        clock: Clock = "event",
        partitions: Sequence[int] | None = None,
        order: Order = "partition",
        rate: float | None = None,
        isolation: Isolation = "read_committed",
        gaps: "Gaps" = "warn",
        resume: Checkpoint | None = None,
        key: Codec[K] = DEFAULT_CODEC,
        value: Codec[V] = DEFAULT_CODEC,
    ) -> "Replay[K, V]":
        """Return a reader of history; use it in `async with` and `async for`.

        `during`: exactly the records of a range of time, then it ends. Else from `start` to
        `stop`, or on for ever; "latest" as a stop is the end as it is when the replay begins.
        `clock`: of times in start and stop. `partitions`: only these. `order`: across partitions;
        "partition" is none, as fast as it comes. `rate`: 1.0 = as fast as it once happened.
        `gaps`: what was removed before it was read is warned of, or raised. `resume`: where
        an earlier replay of the same topics stood; it takes the place of start. One over a range
        goes on with that range as it was, in absolute times.

        Raises:
            ValueError: arguments that do not go together, a naive datetime.
            TidelogError: NOT_IMPLEMENTED: an order that is not built yet.
        """
        from tidelog.replay import Pace, Replay  # noqa: PLC0415 - administration needs none
        from tidelog.subscription import Subscription  # noqa: PLC0415

        if order != "partition":
            raise not_built(f'order="{order}" (records of several partitions merged)')
        check_gaps(gaps)
        if rate is not None and not 0 < rate < float("inf"):
            raise ValueError(f"rate is {rate}; 1.0 is as fast as it once happened")
        request = subscribe_request(
            topics, partitions, during=during, start=start, stop=stop, clock=clock
        )
        request.isolation_level = isolation_of(isolation)
        check_resume(resume, topics, during)
        paced_by = clock if during is None else during.clock
        return Replay(
            Subscription(self._connection, request, resume),
            key=codec_of("key", key),
            value=codec_of("value", value),
            gaps=gaps,
            pace=None if rate is None else Pace(rate, paced_by, self._connection.clock),
            replay_id=f"{self._connection.chance.getrandbits(64):016x}",
        )

    def consumer(  # noqa: PLR0913 - options, each by its name
        self,
        *topics: str,
        group: str,
        key: Codec[K] = DEFAULT_CODEC,
        value: Codec[V] = DEFAULT_CODEC,
        start: Start = "earliest",
        clock: Clock = "event",
        commit: "CommitMode" = "after",
        isolation: Isolation = "read_committed",
        gaps: "Gaps" = "warn",
        instance_id: str | None = None,
        session_timeout: timedelta | None = None,
        on_assigned: "Told[K, V] | None" = None,
        on_revoked: "Told[K, V] | None" = None,
    ) -> "Consumer[K, V]":
        """Return a member of a group; use it in `async with` and `async for`.

        `start`, on `clock`: where nothing is committed; with "latest" all comes that is appended
        once the block was entered. `commit`: "after", a record is finished when the program comes
        back for the next one; "auto", also when it leaves the block in order; "manual", when it
        says so. `gaps`: what was removed before it was read is warned of, or raised.
        `instance_id`: a member that comes back under it takes its own place, and nothing is
        distributed anew. `session_timeout`: silence that ends the membership; 8 s unless the group
        says otherwise. `on_assigned`, `on_revoked` (not in `tidelog.sync`): coroutines that are
        told of partitions between two records; none is needed for what is finished to be committed.

        Raises:
            ValueError: arguments that do not go together, a naive datetime.
        """
        from tidelog.consumer import Consumer  # noqa: PLC0415 - a program without groups needs none
        from tidelog.consumer_settings import ConsumerSettings  # noqa: PLC0415

        check_gaps(gaps)
        settings = ConsumerSettings(
            group=group,
            topics=topics,
            start=start,
            clock=clock,
            commit=commit,
            isolation=isolation,
            instance_id=instance_id,
            session_timeout=session_timeout,
        )
        return Consumer(
            self._connection,
            settings,
            key=codec_of("key", key),
            value=codec_of("value", value),
            gaps=gaps,
            on_assigned=on_assigned,
            on_revoked=on_revoked,
        )

    @property
    def groups(self) -> "Groups":
        """Consumer groups: where they stand, and sending them elsewhere."""
        from tidelog.groups import Groups  # noqa: PLC0415 - a program without groups needs none

        return Groups(self._connection)

    @property
    def queues(self) -> NoReturn:
        """Not built yet."""
        raise not_built("client.queues (work queues)")

    def stream(self, topic: str, stream: str, **options: object) -> NoReturn:
        """Not built yet."""
        raise not_built("client.stream (event streams)")

    def queue(self, name: str, **options: object) -> NoReturn:
        """Not built yet."""
        raise not_built("client.queue (work queues)")

    def transactions(self, **options: object) -> NoReturn:
        """Not built yet."""
        raise not_built("client.transactions")


def check_gaps(gaps: "Gaps") -> None:
    """Refuse another word with ValueError."""
    if gaps not in {"warn", "raise"}:
        raise ValueError(f'gaps is {gaps!r}; there are "warn" and "raise"')


def _compression(wanted: Compression | None) -> Compression | None:
    """Return how batches are compressed; None: this Python sends plain records."""
    if wanted is not None:
        need(wanted)
    if not can_build():
        if wanted not in {None, "none"}:
            raise ValueError(
                f"compression={wanted!r} needs batches made here; pip install 'tidelog[speed]'"
            )
        return None
    if wanted is None:
        return "zstd" if has("zstd") else "none"
    return wanted

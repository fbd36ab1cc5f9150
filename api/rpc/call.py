"""One call as the services see it: who asks, and until when an answer is of use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple
from urllib.parse import unquote

from api.rpc.leader_trailers import Leaders
from api.rpc.until_sent import UntilSent
from model.errors import ErrorCode, RequestError
from model.ids import MonotonicMs, NodeId
from model.limits import PRODUCE_WAIT_MS_MAX
from model.names import check_client_name
from model.ports import Clock
from model.principal import ANONYMOUS, Principal

CLIENT_ID: Final = "tidelog-client-id"
CLUSTER_ID: Final = "tidelog-cluster-id"
NO_FORWARD: Final = "tidelog-no-forward"


class Begun(NamedTuple):
    """When something has begun, on the clock by which it is seen how much of its time is left."""

    clock: Clock
    at: MonotonicMs

    @classmethod
    def now(cls, clock: Clock) -> "Begun":
        """Begin now."""
        return cls(clock, clock.monotonic_ms())

    @property
    def passed_ms(self) -> int:
        """How long ago that was."""
        return self.clock.monotonic_ms() - self.at


@dataclass(frozen=True, slots=True)
class Call:
    """Facts about a call that is under way."""

    name: str
    """`LogService/Fetch` and so on."""
    principal: Principal
    remaining_ms: int | None
    """What is left of its deadline at the beginning; None: it has none."""
    brought_by: NodeId | None = None
    """The node that has brought it here; None: a client did."""
    stays: bool = False
    """Its client wants it answered here, or to be told which node to ask (tidelog-no-forward)."""
    leaders: Leaders = field(default_factory=Leaders)
    """Whom its client could have asked itself."""
    until_sent: UntilSent | None = None
    """What is held until its client has the answer; None: whoever asks counts it himself."""

    is_part: bool = False
    """This node asks itself, for an answer that it puts together."""
    begun: Begun | None = None
    """When it came here; None: just now."""

    @property
    def left_ms(self) -> int | None:
        """What is left of its deadline now; None: it has none."""
        passed_ms = 0 if self.begun is None else self.begun.passed_ms
        return None if self.remaining_ms is None else max(0, self.remaining_ms - passed_ms)

    def when_sent(self, let_go: Callable[[], None]) -> None:
        """Let go what the answer holds once its client has it; at once where nobody tells."""
        if self.until_sent is None:
            let_go()
        else:
            self.until_sent.let_go(let_go)

    @property
    def goes_on(self) -> bool:
        """Whether it may be taken to another node: once, and not against its client's will."""
        return self.brought_by is None and not self.stays

    def wait_ms(self, asked_ms: int | None) -> int:
        """Return how long to wait: what is asked for, else until the deadline; at most 30 s."""
        wait = self.left_ms if asked_ms is None else asked_ms
        limit = PRODUCE_WAIT_MS_MAX.value
        return limit if wait is None else max(0, min(wait, limit))

    def part_ms(self, longest_ms: int) -> int:
        """Return how long one of several nodes may take for its part of the answer.

        It is less than the client waits: what the others say is to reach it, beside that one's
        error.
        """
        return min(longest_ms, self.wait_ms(None) * 3 // 4)


def read_metadata(metadata: Mapping[str, str | bytes], peer: str, cluster_id: str) -> Principal:
    """Return who asks, from a call's metadata and the peer's address as gRPC writes it.

    Raises:
        RequestError: WRONG_CLUSTER, INVALID_REQUEST.
    """
    wanted = metadata.get(CLUSTER_ID)
    if wanted and wanted != cluster_id:
        raise RequestError(
            ErrorCode.WRONG_CLUSTER,
            f'this is a node of cluster "{cluster_id}", the call is meant for "{wanted!s}"',
            cluster_id=cluster_id,
            wanted=str(wanted),
        )
    forward = metadata.get(NO_FORWARD, "")
    if forward not in {"", "0", "1"}:
        raise RequestError(
            ErrorCode.INVALID_REQUEST, f"{NO_FORWARD}: 1 or absent", field=NO_FORWARD
        )
    client_id = check_client_name(str(metadata.get(CLIENT_ID, "")))
    return replace(ANONYMOUS, host=host_of(peer), client_id=client_id)


def stays(metadata: Mapping[str, str | bytes]) -> bool:
    """Tell whether a call's metadata, once read, forbid to take it to another node."""
    return metadata.get(NO_FORWARD) == "1"


def host_of(peer: str) -> str:
    """Return the address in `ipv4:10.0.0.7:5000` or `ipv6:%5B::1%5D:5000`; else what is there."""
    _, _, place = unquote(peer).partition(":")
    host, colon, _ = place.rpartition(":")
    return host.strip("[]") if colon else place

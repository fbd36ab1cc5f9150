"""A client's call, taken to the node that can answer it, once; and how any asking frame is refused.

Format: docs/formats/peer_frames.md, call. What the call says is opaque here: a name and a payload.
The principal goes with it, as the door that the client came in by had proven it; links stand
between nodes only, so it is believed. No clock is shared: the deadline is what was left of it when
the frame was made.

A refusal says its outcome beside its reason. A reason that this release does not know is read as
one that it knows and that claims no more (`CallRefused.error`). Where no answer comes at all, who
forwarded says UPSTREAM_LOST, outcome unknown, once bytes of the call had left.
"""

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple

from cluster.peer.fields import BodyReader, cut_string, listed, string
from cluster.peer.table import Family, Frame, FrameType, packed
from model.errors import ErrorCode, Outcome, RequestError
from model.principal import Principal

DETAIL_BYTES_MAX: Final = 8 << 10
PAIRS_MAX: Final = 64
"""Named parts of a refusal; none has so many."""
VALUE_BYTES_MAX: Final = 1 << 10
_MS: Final = Struct(">I")
_REFUSAL: Final = Struct(">Bi")  # outcome, retry delay in ms (-1: not said)
_NO_DELAY: Final = -1
_OUTCOMES: Final[Mapping[int, Outcome]] = {
    0: Outcome.NOT_DONE,
    1: Outcome.UNKNOWN,
    2: Outcome.DONE,
}
_OUTCOME_NUMBERS: Final = {outcome: number for number, outcome in _OUTCOMES.items()}
_MS_MAX: Final = (1 << 31) - 1
_UNTOLD: Final[Mapping[Outcome, ErrorCode]] = {
    Outcome.NOT_DONE: ErrorCode.NOT_IMPLEMENTED,
    Outcome.UNKNOWN: ErrorCode.INTERNAL,
    Outcome.DONE: ErrorCode.INTERNAL,
}
"""What stands for a reason that this release does not know."""


class Forward(NamedTuple):
    """A client's call."""

    name: str
    """Of the use case."""
    principal: Principal
    left_ms: int
    """Until the client gives up, when this was made; 0: it has."""
    payload: bytes | memoryview
    """Read from a frame it lies in the connection's buffer: valid while the frame is handled."""


class Forwarded(NamedTuple):
    """Its answer."""

    payload: bytes | memoryview


class CallRefused(NamedTuple):
    """Why an asking frame of any family has no other answer."""

    outcome: Outcome
    reason: str
    """Name of an `ErrorCode`, perhaps of a newer release's."""
    detail: str
    retry_delay_ms: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """By name, in rising order."""

    @classmethod
    def of(cls, error: RequestError, **more: str) -> "CallRefused":
        """Return a refusal as it is sent; `more` goes beside the error's own metadata."""
        pairs = tuple(sorted({**error.metadata, **more}.items()))
        code = error.code
        return cls(code.outcome, code.name, error.detail, error.retry_delay_ms, pairs)

    @property
    def error(self) -> RequestError:
        """The same as the error that a client is told."""
        code = ErrorCode.__members__.get(self.reason)
        known = code is not None and code.outcome is self.outcome
        told = code if code is not None and known else _UNTOLD[self.outcome]
        detail = self.detail if known else f"{self.reason}: {self.detail}"
        delay = self.retry_delay_ms
        return RequestError(told, detail, retry_delay_ms=delay, **dict(self.metadata))


def encode_forward(call: Forward, *, correlation: int) -> bytes:
    """Return a call's whole frame."""
    name, principal, left_ms, payload = call
    who = (principal.name, principal.host, principal.client_id)
    begin = (_MS.pack(left_ms), string(name), *map(string, who))
    return packed(FrameType.FORWARD, *begin, bytes(payload), correlation=correlation)


def encode_forwarded(answer: Forwarded, *, correlation: int) -> bytes:
    """Return an answer's whole frame."""
    return packed(FrameType.FORWARDED, bytes(answer.payload), correlation=correlation)


def encode_refused(refused: CallRefused, *, correlation: int) -> bytes:
    """Return a refusal's whole frame; texts that are too long for one are cut."""
    outcome, reason, detail, delay, metadata = refused
    delay_ms = _NO_DELAY if delay is None else min(delay, _MS_MAX)
    pairs = [
        string(name) + cut_string(value, VALUE_BYTES_MAX) for name, value in metadata[:PAIRS_MAX]
    ]
    return packed(
        FrameType.CALL_REFUSED,
        _REFUSAL.pack(_OUTCOME_NUMBERS[outcome], delay_ms),
        string(reason),
        cut_string(detail, DETAIL_BYTES_MAX),
        listed(pairs),
        correlation=correlation,
    )


def decode(frame: Frame) -> Forward | Forwarded | CallRefused:
    """Return what a frame of a call says.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.CALL, "PEER_FRAME_FAMILY"
    reader = BodyReader(frame)
    if frame.type is FrameType.FORWARDED:
        return Forwarded(reader.rest())
    if frame.type is FrameType.FORWARD:
        (left_ms,) = reader.unpack(_MS)
        name = reader.string()
        principal = Principal(reader.string(), reader.string(), reader.string())
        return Forward(name, principal, left_ms, reader.rest())
    refused = _read_refused(reader)
    reader.finish()
    return refused


def _read_refused(reader: BodyReader) -> CallRefused:
    number, delay = reader.unpack(_REFUSAL)
    outcome = _OUTCOMES.get(number)
    if outcome is None:
        raise reader.wrong(f"an outcome {number}", back=_REFUSAL.size)
    reader.check(delay >= _NO_DELAY, f"a delay of {delay} ms", back=4)
    reason, detail = reader.string(), reader.string(bytes_max=DETAIL_BYTES_MAX)

    def pair() -> tuple[str, str]:
        return reader.string(), reader.string(bytes_max=VALUE_BYTES_MAX)

    pairs = reader.listed(pair, least_bytes=4)
    reader.check(len(pairs) <= PAIRS_MAX, f"{len(pairs)} pairs, not {PAIRS_MAX}")
    names = [name for name, _ in pairs]
    sound = names == sorted(set(names)) and not _RESERVED & set(names)
    reader.check(sound, "metadata out of order, twice, or by a name of the wire's own")
    return CallRefused(outcome, reason, detail, None if delay == _NO_DELAY else delay, pairs)


_RESERVED: Final = frozenset({"outcome", "retryable", "retry_delay_ms"})

"""What can go wrong, as exceptions with one root.

Every refusal has a `reason` from docs/reference/errors.md: the same word that gRPC's `ErrorInfo`
carries, that the command line shows, and under which the page explains it. Which class a reason
raises is in `tidelog/reasons.json`, printed from the node's own table.

What is retryable was retried within the client's `Retry` budget before it got here; the text then
says how long and how often. A write that may have taken effect is repeated only if it is
idempotent; otherwise `OutcomeUnknown` is raised at once.
"""

from collections.abc import Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tidelog.types import Outcome, TopicPartition

UNREACHABLE: Final = "UNREACHABLE"
"""Only in the client: no address could be connected to; nothing was sent."""
CONNECTION_LOST: Final = "CONNECTION_LOST"
"""Only in the client: the connection broke before an answer came."""
LOG_GAP: Final = "LOG_GAP"
"""Only in the client: the message `Gap` as an exception."""
LOG_DIVERGED: Final = "LOG_DIVERGED"
"""Only in the client: the message `Diverged` as an exception."""
NOT_IMPLEMENTED: Final = "NOT_IMPLEMENTED"
TIMED_OUT: Final = "REQUEST_TIMED_OUT"


class TidelogError(Exception):
    """The root of everything that Tidelog raises, but for wrong arguments (ValueError, TypeError).

    `outcome` says what became of the request: "done", "not_done", or "unknown". `retryable`: the
    same request, unchanged, may succeed later. `metadata` has every changing part of the text.
    """

    def __init__(
        self,
        text: str,
        *,
        reason: str,
        outcome: "Outcome" = "not_done",
        retryable: bool = False,
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Keep what happened; `text` is for people, without the reason."""
        super().__init__(text)
        self.text = text
        self.reason = reason
        self.outcome: Outcome = outcome
        self.retryable = retryable
        self.metadata = metadata

    def __str__(self) -> str:
        """Return the text with the reason behind it."""
        return f"{self.text} ({self.reason})"

    def __reduce__(self) -> tuple[object, ...]:
        """Reach another process, or a copy, whole; notes too."""
        make = partial(
            type(self),
            self.text,
            reason=self.reason,
            outcome=self.outcome,
            retryable=self.retryable,
            metadata=dict(self.metadata),
        )
        return make, (), {"__notes__": notes} if (notes := getattr(self, "__notes__", [])) else None

    def after(self, tries: str) -> "TidelogError":
        """Return the same error with what was tried in its text: `gave up after 120 s`."""
        again = type(self)(
            f"{self.text}; {tries}",
            reason=self.reason,
            outcome=self.outcome,
            retryable=self.retryable,
            metadata=self.metadata,
        )
        again.__cause__ = self
        return again


class ConnectError(TidelogError):
    """No node could be reached."""


class Unavailable(TidelogError):  # noqa: N818 - the table's word
    """Nodes answer, but cannot do it now: no leader, no quorum, too few replicas, disk full."""


class OutcomeUnknown(TidelogError):  # noqa: N818
    """It may have taken effect. Repeat it only if that is harmless."""


class InvalidRequest(TidelogError):  # noqa: N818
    """What was asked for is not possible."""


class RecordTooLarge(InvalidRequest):
    """Above the topic's `max.message.bytes`, or above the producer's whole buffer."""


class AccessDenied(TidelogError):  # noqa: N818
    """The principal is not proven, or may not do this."""


class QuotaExceeded(TidelogError):  # noqa: N818
    """Too much was asked for, or for now."""


class NotFound(TidelogError):  # noqa: N818
    """What was named does not exist."""


class AlreadyExists(TidelogError):  # noqa: N818
    """What was to be made is there."""


class Conflict(TidelogError):  # noqa: N818
    """It does not fit what is there."""


class WrongExpectedVersion(Conflict):
    """Somebody else wrote to the stream first."""

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self.metadata.get("stream", "")

    @property
    def current(self) -> int | None:
        """Version that the stream has; None = it does not exist."""
        return _number(self.metadata, "current")


class Fenced(Conflict):
    """A newer producer, member or instance has taken this one's place."""


class OffsetOutOfRange(TidelogError):  # noqa: N818
    """No such offset: beyond the end."""

    @property
    def partition(self) -> "TopicPartition":
        """Where."""
        return _partition(self.metadata)

    @property
    def requested(self) -> int | None:
        """The offset that was asked for."""
        return _number(self.metadata, "offset")

    @property
    def log_start_offset(self) -> int | None:
        """The first offset that is there."""
        return _number(self.metadata, "log_start_offset")

    @property
    def high_watermark(self) -> int | None:
        """The first that is not there yet."""
        return _number(self.metadata, "high_watermark")


class LogDiverged(TidelogError):  # noqa: N818
    """Records that were read are gone (an unclean election): undo from `offset` on."""

    @property
    def partition(self) -> "TopicPartition":
        """Where."""
        return _partition(self.metadata)

    @property
    def offset(self) -> int:
        """The first offset that is not what was read."""
        return int(self.metadata["offset"])


class LogGap(TidelogError):  # noqa: N818
    """Records were removed, by retention or a trim, before they were read.

    Raised only with `gaps="raise"`, else logged. Reading on goes on at `next_offset`.
    """

    @property
    def partition(self) -> "TopicPartition":
        """Where."""
        return _partition(self.metadata)

    @property
    def expected_offset(self) -> int:
        """The first one that is missing."""
        return int(self.metadata["expected_offset"])

    @property
    def next_offset(self) -> int:
        """The first one that is there."""
        return int(self.metadata["next_offset"])


class DataCorrupt(TidelogError):  # noqa: N818
    """Bytes fail their checksum. A reader goes on at `next_offset`, if there is one."""

    @property
    def offset(self) -> int | None:
        """The first offset that cannot be read; None: it is not known."""
        return _number(self.metadata, "offset")

    @property
    def next_offset(self) -> int | None:
        """The first one behind, where reading goes on; None: the read has ended."""
        return _number(self.metadata, "next_offset")


CLASSES: Final = {
    each.__name__: each
    for each in (
        TidelogError, ConnectError, Unavailable, OutcomeUnknown, InvalidRequest, RecordTooLarge,
        AccessDenied, QuotaExceeded, NotFound, AlreadyExists, Conflict, WrongExpectedVersion,
        Fenced, OffsetOutOfRange, LogDiverged, LogGap, DataCorrupt,
    )
}  # fmt: skip
"""Every exception by its name: what `tidelog/reasons.json` calls `python`."""

OUTCOMES: Final[Mapping[str, "Outcome"]] = {
    "DONE": "done",
    "NOT_DONE": "not_done",
    "UNKNOWN": "unknown",
}
"""What the wire says, and what `TidelogError.outcome` says."""


INT64_DIGITS: Final = 19
"""The most that a number on the wire has; Python refuses to read thousands of them."""


class Known(NamedTuple):
    """What the table says of a reason."""

    error: type[TidelogError]
    outcome: "Outcome"
    retryable: bool


@cache
def known_reasons() -> Mapping[str, Known]:
    """Return the table. It is read when the first error is made."""
    import json  # noqa: PLC0415 - only in trouble
    from importlib.resources import files  # noqa: PLC0415

    rows = json.loads(files("tidelog").joinpath("reasons.json").read_bytes())
    return {
        row["name"]: Known(
            CLASSES[row["python"]], OUTCOMES[row["outcome"]], retryable=row["retry"] == "yes"
        )
        for row in rows
    }


def error_of(
    reason: str,
    text: str,
    *,
    outcome: "Outcome | None" = None,
    retryable: bool | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> TidelogError:
    """Return the exception of a reason; what a newer node added is told by its two verdicts."""
    known = known_reasons().get(reason)
    if known is None:
        outcome = "unknown" if outcome is None else outcome
        fallback = OutcomeUnknown if outcome == "unknown" else TidelogError
        known = Known(Unavailable if retryable and outcome == "not_done" else fallback, outcome,
                      retryable=bool(retryable))  # fmt: skip
    text = text.removeprefix(f"{reason}: ")
    return known.error(
        text,
        reason=reason,
        outcome=known.outcome if outcome is None else outcome,
        retryable=known.retryable if retryable is None else retryable,
        metadata=metadata,
    )


def not_built(what: str) -> InvalidRequest:
    """Return the refusal of something that a later release brings."""
    return InvalidRequest(
        f"{what} is not built yet; docs/reference/sdk.md says what this release does",
        reason=NOT_IMPLEMENTED,
    )


def _number(metadata: Mapping[str, str], name: str) -> int | None:
    text = metadata.get(name, "")
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= INT64_DIGITS
    return int(text) if is_number else None


def _partition(metadata: Mapping[str, str]) -> "TopicPartition":
    from tidelog.types import TopicPartition  # noqa: PLC0415 - errors are the lowest module

    return TopicPartition(metadata.get("topic", ""), _number(metadata, "partition") or 0)

"""The one place where an error code becomes a status, a number, an exit code and an exception.

Total by construction: a code without a row stops the import. docs/reference/errors.md is printed
from here, and so are the command line's hints.
"""

from enum import Enum, IntEnum
from typing import Final, NamedTuple

from grpc import StatusCode

from model.errors import ErrorCode, RequestError, Retry

DOMAIN: Final = "tidelog"
"""`google.rpc.ErrorInfo.domain` of every reason."""


class ExitCode(IntEnum):
    """Exit codes of the command line that a refused request leads to."""

    FAILED = 1
    NOT_BUILT = 2
    NOT_NOW = 3
    """Later it may work; or the outcome is unknown."""


class KafkaContext(Enum):
    """Where Kafka has another number for the same refusal; the value is what the page says."""

    OLD_VERSION = "versions before KIP-588"
    CLASSIC_GROUP = "classic groups"
    PRODUCE_OR_FETCH = "produce and fetch"
    TOPIC_ID = "named by id"
    GROUP = "a group"
    CLUSTER = "the cluster"
    TRANSACTIONAL_ID = "a transactional id"


class KafkaOnly(IntEnum):
    """Numbers of the Kafka protocol that no reason stands behind; only its listener sends them."""

    NONE = 0
    INVALID_REQUIRED_ACKS = 21
    INVALID_REPLICA_ASSIGNMENT = 39
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    INVALID_RECORD = 87


UNKNOWN_SERVER_ERROR: Final = -1
"""What a Kafka client is told where Kafka has no number: reasons of APIs that it cannot call."""


class WireError(NamedTuple):
    """How each surface spells one error code.

    `kafka` None: Kafka has no such refusal. `elsewhere`: contexts in which its number differs.
    """

    grpc_status: StatusCode
    kafka: int | None
    sdk: str
    exit_code: ExitCode = ExitCode.FAILED
    elsewhere: tuple[tuple[KafkaContext, int], ...] = ()


_NOW: Final = ExitCode.NOT_NOW
_S: Final = StatusCode
_AUTHORIZATION: Final = (
    (KafkaContext.GROUP, 30),
    (KafkaContext.CLUSTER, 31),
    (KafkaContext.TRANSACTIONAL_ID, 53),
)

WIRE: Final = {
    ErrorCode.INVALID_REQUEST: WireError(_S.INVALID_ARGUMENT, 42, "InvalidRequest"),
    ErrorCode.CROSS_PARTITION_CHECK: WireError(_S.INVALID_ARGUMENT, 42, "InvalidRequest"),
    ErrorCode.INVALID_TOPIC_NAME: WireError(_S.INVALID_ARGUMENT, 17, "InvalidRequest"),
    ErrorCode.INVALID_PARTITION_COUNT: WireError(_S.INVALID_ARGUMENT, 37, "InvalidRequest"),
    ErrorCode.INVALID_REPLICATION_FACTOR: WireError(_S.INVALID_ARGUMENT, 38, "InvalidRequest"),
    ErrorCode.INVALID_CONFIG: WireError(_S.INVALID_ARGUMENT, 40, "InvalidRequest"),
    ErrorCode.RECORD_TOO_LARGE: WireError(_S.INVALID_ARGUMENT, 10, "RecordTooLarge"),
    ErrorCode.OFFSET_METADATA_TOO_LARGE: WireError(_S.INVALID_ARGUMENT, 12, "InvalidRequest"),
    ErrorCode.TIMESTAMP_OUT_OF_RANGE: WireError(_S.INVALID_ARGUMENT, 32, "InvalidRequest"),
    ErrorCode.UNSUPPORTED_COMPRESSION: WireError(_S.INVALID_ARGUMENT, 76, "InvalidRequest"),
    ErrorCode.CORRUPT_BATCH: WireError(_S.INVALID_ARGUMENT, 2, "DataCorrupt"),
    ErrorCode.CORRUPT_LOG: WireError(_S.DATA_LOSS, 2, "DataCorrupt"),
    ErrorCode.UNKNOWN_TOPIC: WireError(
        _S.NOT_FOUND, 3, "NotFound", elsewhere=((KafkaContext.TOPIC_ID, 100),)
    ),
    ErrorCode.UNKNOWN_PARTITION: WireError(_S.NOT_FOUND, 3, "NotFound"),
    ErrorCode.UNKNOWN_BROKER: WireError(_S.NOT_FOUND, 102, "NotFound"),
    ErrorCode.UNKNOWN_GROUP: WireError(_S.NOT_FOUND, 69, "NotFound"),
    ErrorCode.UNKNOWN_QUEUE: WireError(_S.NOT_FOUND, 69, "NotFound"),
    ErrorCode.UNKNOWN_STREAM: WireError(_S.NOT_FOUND, None, "NotFound"),
    ErrorCode.TOPIC_ALREADY_EXISTS: WireError(_S.ALREADY_EXISTS, 36, "AlreadyExists"),
    ErrorCode.QUEUE_ALREADY_EXISTS: WireError(_S.ALREADY_EXISTS, None, "AlreadyExists"),
    ErrorCode.POLICY_VIOLATION: WireError(_S.FAILED_PRECONDITION, 44, "InvalidRequest"),
    ErrorCode.OFFSET_OUT_OF_RANGE: WireError(_S.OUT_OF_RANGE, 1, "OffsetOutOfRange"),
    ErrorCode.HISTORY_NOT_KEPT: WireError(_S.OUT_OF_RANGE, None, "NotFound"),
    ErrorCode.NOT_LEADER: WireError(_S.FAILED_PRECONDITION, 6, "Unavailable", _NOW),
    ErrorCode.NOT_COORDINATOR: WireError(_S.FAILED_PRECONDITION, 16, "Unavailable", _NOW),
    ErrorCode.LEADER_NOT_AVAILABLE: WireError(_S.UNAVAILABLE, 5, "Unavailable", _NOW),
    ErrorCode.NO_QUORUM: WireError(
        _S.UNAVAILABLE, 41, "Unavailable", _NOW, ((KafkaContext.PRODUCE_OR_FETCH, 5),)
    ),
    ErrorCode.OFFSET_NOT_AVAILABLE: WireError(_S.UNAVAILABLE, 78, "Unavailable", _NOW),
    ErrorCode.READ_NOT_CONFIRMED: WireError(_S.UNAVAILABLE, 7, "Unavailable", _NOW),
    ErrorCode.NODE_UNREACHABLE: WireError(_S.UNAVAILABLE, 7, "Unavailable", _NOW),
    ErrorCode.NOT_ENOUGH_REPLICAS: WireError(_S.UNAVAILABLE, 19, "Unavailable", _NOW),
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: WireError(
        _S.UNAVAILABLE, 20, "OutcomeUnknown", _NOW
    ),
    # Kafka has no number for the next two; 7 is the one after which its clients expect either.
    ErrorCode.LEADERSHIP_LOST: WireError(_S.UNAVAILABLE, 7, "OutcomeUnknown", _NOW),
    ErrorCode.UPSTREAM_LOST: WireError(_S.UNAVAILABLE, 7, "OutcomeUnknown", _NOW),
    ErrorCode.REQUEST_TIMED_OUT: WireError(_S.DEADLINE_EXCEEDED, 7, "OutcomeUnknown", _NOW),
    ErrorCode.FENCED_EPOCH: WireError(_S.FAILED_PRECONDITION, 74, "Unavailable", _NOW),
    ErrorCode.UNKNOWN_EPOCH: WireError(_S.UNAVAILABLE, 75, "Unavailable", _NOW),
    ErrorCode.STORAGE_ERROR: WireError(_S.UNAVAILABLE, 56, "OutcomeUnknown", _NOW),
    ErrorCode.DISK_FULL: WireError(_S.RESOURCE_EXHAUSTED, 56, "Unavailable", _NOW),
    ErrorCode.QUOTA_EXCEEDED: WireError(_S.RESOURCE_EXHAUSTED, 89, "QuotaExceeded", _NOW),
    ErrorCode.OVERLOADED: WireError(_S.RESOURCE_EXHAUSTED, 89, "QuotaExceeded", _NOW),
    ErrorCode.LIMIT_EXCEEDED: WireError(_S.RESOURCE_EXHAUSTED, 44, "QuotaExceeded"),
    ErrorCode.DUPLICATE_SEQUENCE: WireError(_S.ALREADY_EXISTS, 46, "AlreadyExists"),
    ErrorCode.OUT_OF_ORDER_SEQUENCE: WireError(_S.FAILED_PRECONDITION, 45, "Conflict"),
    ErrorCode.UNKNOWN_PRODUCER_ID: WireError(_S.FAILED_PRECONDITION, 59, "Conflict"),
    ErrorCode.PRODUCER_FENCED: WireError(
        _S.ABORTED, 90, "Fenced", elsewhere=((KafkaContext.OLD_VERSION, 47),)
    ),
    ErrorCode.INVALID_TXN_STATE: WireError(_S.FAILED_PRECONDITION, 48, "Conflict"),
    ErrorCode.INVALID_TXN_TIMEOUT: WireError(_S.INVALID_ARGUMENT, 50, "InvalidRequest"),
    ErrorCode.CONCURRENT_TRANSACTIONS: WireError(_S.ABORTED, 51, "Unavailable", _NOW),
    ErrorCode.TRANSACTION_ABORTABLE: WireError(_S.ABORTED, 120, "Conflict"),
    ErrorCode.COORDINATOR_LOADING: WireError(_S.UNAVAILABLE, 14, "Unavailable", _NOW),
    ErrorCode.COORDINATOR_NOT_AVAILABLE: WireError(_S.UNAVAILABLE, 15, "Unavailable", _NOW),
    ErrorCode.UNKNOWN_MEMBER: WireError(_S.ABORTED, 25, "Fenced"),
    ErrorCode.STALE_MEMBER_EPOCH: WireError(
        _S.ABORTED, 113, "Fenced", elsewhere=((KafkaContext.CLASSIC_GROUP, 22),)
    ),
    ErrorCode.FENCED_INSTANCE: WireError(_S.ABORTED, 82, "Fenced"),
    ErrorCode.REBALANCE_IN_PROGRESS: WireError(_S.ABORTED, 27, "Unavailable", _NOW),
    ErrorCode.GROUP_NOT_EMPTY: WireError(_S.FAILED_PRECONDITION, 68, "Conflict"),
    ErrorCode.GROUP_KIND_MISMATCH: WireError(_S.FAILED_PRECONDITION, 23, "Conflict"),
    ErrorCode.WRONG_EXPECTED_VERSION: WireError(_S.ABORTED, None, "WrongExpectedVersion"),
    ErrorCode.LEASE_EXPIRED: WireError(_S.FAILED_PRECONDITION, 121, "Conflict"),
    ErrorCode.ETAG_MISMATCH: WireError(_S.ABORTED, None, "Conflict"),
    ErrorCode.REASSIGNMENT_IN_PROGRESS: WireError(_S.FAILED_PRECONDITION, 60, "Conflict"),
    ErrorCode.NO_REASSIGNMENT: WireError(_S.NOT_FOUND, 85, "NotFound"),
    ErrorCode.NO_ELIGIBLE_LEADER: WireError(_S.FAILED_PRECONDITION, 83, "Conflict"),
    ErrorCode.BROKER_NOT_EMPTY: WireError(_S.FAILED_PRECONDITION, 44, "Conflict"),
    ErrorCode.QUORUM_CHANGE_IN_PROGRESS: WireError(_S.FAILED_PRECONDITION, 41, "Unavailable", _NOW),
    ErrorCode.DUPLICATE_VOTER: WireError(_S.ALREADY_EXISTS, 126, "AlreadyExists"),
    ErrorCode.UNKNOWN_VOTER: WireError(_S.NOT_FOUND, 127, "NotFound"),
    ErrorCode.AUTHENTICATION_FAILED: WireError(_S.UNAUTHENTICATED, 58, "AccessDenied"),
    ErrorCode.ACCESS_DENIED: WireError(
        _S.PERMISSION_DENIED, 29, "AccessDenied", elsewhere=_AUTHORIZATION
    ),
    ErrorCode.WRONG_CLUSTER: WireError(_S.FAILED_PRECONDITION, 104, "InvalidRequest"),
    ErrorCode.NOT_IMPLEMENTED: WireError(
        _S.UNIMPLEMENTED, 35, "InvalidRequest", ExitCode.NOT_BUILT
    ),
    ErrorCode.SHUTTING_DOWN: WireError(_S.UNAVAILABLE, 8, "Unavailable", _NOW),
    ErrorCode.INTERNAL: WireError(_S.INTERNAL, UNKNOWN_SERVER_ERROR, "OutcomeUnknown", _NOW),
}

assert WIRE.keys() == set(ErrorCode), "ERROR_MAPPING_TOTAL"


def grpc_status(code: ErrorCode) -> StatusCode:
    """Return the status that a gRPC call ends with."""
    return WIRE[code].grpc_status


def kafka_number(code: ErrorCode, context: KafkaContext | None = None) -> int:
    """Return Kafka's error code, in a context where it has another one if that is given."""
    wire = WIRE[code]
    for where, number in wire.elsewhere:
        if where is context:
            return number
    return UNKNOWN_SERVER_ERROR if wire.kafka is None else wire.kafka


def error_info_metadata(error: RequestError) -> dict[str, str]:
    """Return what `ErrorInfo` and `RecordError` carry beside the reason: always both verdicts."""
    return {
        **error.metadata,
        "outcome": error.code.outcome.name,
        "retryable": "true" if error.code.retryable else "false",
    }


def reference() -> str:
    """Return the Markdown table of every error that a client can see."""
    rows = [
        "| reason | outcome | retry | gRPC | Kafka | exit | Python | meaning |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| [`{code.name}`](#{code.name.lower()}) | {code.outcome.name} | {code.retry.value} "
        f"| {wire.grpc_status.name} | {_kafka_cell(wire)} | {wire.exit_code} | `{wire.sdk}` "
        f"| {code.meaning} |"
        for code, wire in WIRE.items()
    ]
    return "\n".join(rows)


def sections() -> str:
    """Return a section for each reason, with its anchor: what it means and what to do."""
    return "\n\n".join(f"### {code.name}\n\n{_section(code)}" for code in ErrorCode)


def _section(code: ErrorCode) -> str:
    """Return the text below one reason's heading."""
    lines = [code.meaning, f"*What to do:* {code.hint}"]
    if code.retry is Retry.REFRESH_FIRST:
        lines.append("Repeating the same request unchanged does not help.")
    return "\n\n".join(lines)


def _kafka_cell(wire: WireError) -> str:
    """Return the numbers of one row; `none` where Kafka has no number."""
    number = "none" if wire.kafka is None else str(wire.kafka)
    return "; ".join([number, *(f"{other} {context.value}" for context, other in wire.elsewhere)])

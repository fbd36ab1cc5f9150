"""The closed set of ways in which a request can fail.

A member is added here and nowhere else; `model.error_hints` must then say what to do about it, and
`api.errors` refuses to load until it knows the member's gRPC status, Kafka number, exit code and
SDK exception. Bugs are assertions, never members.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from errno import errorcode
from typing import Final

from model.error_hints import HINTS


class Outcome(Enum):
    """What a client may conclude about its request (promise P4)."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


class Retry(Enum):
    """Whether to send a refused request again. After UNKNOWN repeat only what is idempotent."""

    NO = "no"
    YES = "yes"
    REFRESH_FIRST = "refresh first"


NOT_DONE: Final = Outcome.NOT_DONE
UNKNOWN: Final = Outcome.UNKNOWN
YES: Final = Retry.YES
REFRESH: Final = Retry.REFRESH_FIRST


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row of the error table: one sentence for people, the outcome, and what a retry brings.

    `Retry.YES`: the same request, unchanged, may succeed later. `Retry.REFRESH_FIRST`: only once
    the leader, the membership or the version that it names was asked for anew.
    """

    meaning: str
    outcome: Outcome = NOT_DONE
    retry: Retry = Retry.NO


@unique
class ErrorCode(Enum):
    """Why a request was refused; the name is the reason that every surface shows."""

    # What the request says.
    INVALID_REQUEST = Refusal("A field of the request is missing, malformed or out of bounds.")
    CROSS_PARTITION_CHECK = Refusal("A condition names a stream of another partition.")
    INVALID_TOPIC_NAME = Refusal("The topic name is not legal.")
    INVALID_PARTITION_COUNT = Refusal("The number of partitions is not possible.")
    INVALID_REPLICATION_FACTOR = Refusal("The number of replicas is not possible.")
    INVALID_CONFIG = Refusal("A setting is unknown, or its value is out of bounds.")
    RECORD_TOO_LARGE = Refusal("The record batch is larger than the topic accepts.")
    OFFSET_METADATA_TOO_LARGE = Refusal("The text stored with a committed offset is too long.")
    TIMESTAMP_OUT_OF_RANGE = Refusal("An event time lies outside what the topic accepts.")
    UNSUPPORTED_COMPRESSION = Refusal("The batch is compressed in a way this node cannot read.")
    CORRUPT_BATCH = Refusal(
        "The record batch that was sent does not match its own checksum or lengths.", retry=YES
    )
    CORRUPT_LOG = Refusal("Stored records fail their checksum, and no intact replica has them.")
    # What it names.
    UNKNOWN_TOPIC = Refusal("The topic does not exist.")
    UNKNOWN_PARTITION = Refusal("The topic has no partition of this number.")
    UNKNOWN_BROKER = Refusal("No broker has this number.")
    UNKNOWN_GROUP = Refusal("The group does not exist.")
    UNKNOWN_QUEUE = Refusal("The queue does not exist.")
    UNKNOWN_STREAM = Refusal("The stream has no event.")
    TOPIC_ALREADY_EXISTS = Refusal("A topic of this name exists.")
    QUEUE_ALREADY_EXISTS = Refusal("A queue of this name exists.")
    POLICY_VIOLATION = Refusal("The topic's kind or a rule of the cluster forbids it.")
    OFFSET_OUT_OF_RANGE = Refusal("The offset is below the log start or beyond the end.")
    HISTORY_NOT_KEPT = Refusal("The group's history does not reach back to the time asked for.")
    # Who is asked.
    NOT_LEADER = Refusal("This node does not lead the partition.", retry=REFRESH)
    NOT_COORDINATOR = Refusal("This node does not coordinate the group.", retry=REFRESH)
    LEADER_NOT_AVAILABLE = Refusal(
        "The partition has no leader now, or one so new that it cannot take this yet.", retry=YES
    )
    NO_QUORUM = Refusal("The controller has no majority.", retry=YES)
    OFFSET_NOT_AVAILABLE = Refusal(
        "The leader is new, and does not know yet whether what was asked for is committed.",
        retry=YES,
    )
    READ_NOT_CONFIRMED = Refusal(
        "An in-sync replica did not confirm that this node still leads.", retry=YES
    )
    NODE_UNREACHABLE = Refusal(
        "Another node that has to take part is not connected to this one.", retry=YES
    )
    # What becomes of an append.
    NOT_ENOUGH_REPLICAS = Refusal("Too few replicas are in sync to append.", retry=YES)
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = Refusal(
        "Too few replicas were in sync when the append was to be acknowledged.", UNKNOWN, YES
    )
    LEADERSHIP_LOST = Refusal(
        "This node stopped leading before the append was committed.", UNKNOWN, YES
    )
    UPSTREAM_LOST = Refusal(
        "The connection to the node that the call was forwarded to broke.", UNKNOWN, YES
    )
    REQUEST_TIMED_OUT = Refusal("No answer was ready within the time allowed.", UNKNOWN, YES)
    FENCED_EPOCH = Refusal("The asker's leader epoch is an old one.", retry=REFRESH)
    UNKNOWN_EPOCH = Refusal("The asker's leader epoch is ahead of this node.", retry=YES)
    STORAGE_ERROR = Refusal("The log directory failed and went offline.", UNKNOWN, YES)
    DISK_FULL = Refusal("The disk is full up to the reserve; nothing was appended.", retry=YES)
    # How much is asked for.
    QUOTA_EXCEEDED = Refusal("The client has used up its quota for now.", retry=YES)
    OVERLOADED = Refusal("The node has no room for another request now.", retry=YES)
    LIMIT_EXCEEDED = Refusal("The cluster holds as many of these as it may.")
    # Producers and transactions.
    DUPLICATE_SEQUENCE = Refusal(
        "The batch is in the log already; its offset is no longer known.", Outcome.DONE
    )
    OUT_OF_ORDER_SEQUENCE = Refusal("A batch of this producer before this one is missing.")
    UNKNOWN_PRODUCER_ID = Refusal("The state kept for this producer has expired.")
    PRODUCER_FENCED = Refusal("A newer instance of this producer has taken its place.")
    INVALID_TXN_STATE = Refusal("The transaction is not in a state that allows it.")
    INVALID_TXN_TIMEOUT = Refusal("The transaction timeout is out of bounds.")
    CONCURRENT_TRANSACTIONS = Refusal("The transaction before it is still ending.", retry=YES)
    TRANSACTION_ABORTABLE = Refusal("The transaction cannot commit any more.")
    # Groups, streams and queues.
    COORDINATOR_LOADING = Refusal("The coordinator is reading its log.", retry=YES)
    COORDINATOR_NOT_AVAILABLE = Refusal("The coordinator is not reachable now.", retry=YES)
    UNKNOWN_MEMBER = Refusal("The group does not know this member.", retry=REFRESH)
    STALE_MEMBER_EPOCH = Refusal("The member's epoch is not the group's.", retry=REFRESH)
    FENCED_INSTANCE = Refusal("A newer member has this instance id.")
    REBALANCE_IN_PROGRESS = Refusal("The group is distributing its partitions.", retry=REFRESH)
    GROUP_NOT_EMPTY = Refusal("The group has live members.")
    GROUP_KIND_MISMATCH = Refusal("The group's members speak the other group protocol.")
    WRONG_EXPECTED_VERSION = Refusal(
        "The stream is not at the version that was expected.", retry=REFRESH
    )
    LEASE_EXPIRED = Refusal("The lease ended before it was settled.")
    ETAG_MISMATCH = Refusal("It was changed since it was read.", retry=REFRESH)
    # Operating the cluster.
    REASSIGNMENT_IN_PROGRESS = Refusal("The partition's replicas are being moved already.")
    NO_REASSIGNMENT = Refusal("The partition's replicas are not being moved.")
    NO_ELIGIBLE_LEADER = Refusal("No replica that could lead is alive.")
    BROKER_NOT_EMPTY = Refusal("The broker still holds replicas or a vote.")
    QUORUM_CHANGE_IN_PROGRESS = Refusal(
        "Another change of the controller quorum is not finished.", retry=YES
    )
    DUPLICATE_VOTER = Refusal("The node has a vote already.")
    UNKNOWN_VOTER = Refusal("The node has no vote.")
    # Doors.
    AUTHENTICATION_FAILED = Refusal("The client did not prove who it is.")
    ACCESS_DENIED = Refusal("The principal may not do this.")
    WRONG_CLUSTER = Refusal("This node belongs to another cluster.")
    NOT_IMPLEMENTED = Refusal("This release does not have it yet.")
    SHUTTING_DOWN = Refusal("The node is stopping.", retry=YES)
    INTERNAL = Refusal("A bug in Tidelog, logged under the id that the message names.", UNKNOWN)

    @property
    def outcome(self) -> Outcome:
        """Whether the request took effect."""
        return self.value.outcome

    @property
    def retry(self) -> Retry:
        """Whether to send it again, and what to do before."""
        return self.value.retry

    @property
    def retryable(self) -> bool:
        """Whether the same request, unchanged, may succeed later: what the wire says."""
        return self.value.retry is Retry.YES

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return self.value.meaning

    @property
    def hint(self) -> str:
        """What to do about it, for people."""
        return HINTS[self.name]


assert HINTS.keys() == ErrorCode.__members__.keys(), "ERROR_HINT_TOTAL"


class RequestError(Exception):
    """A refusal that the client sees, with the code it sees."""

    def __init__(
        self, code: ErrorCode, detail: str, /, *, retry_delay_ms: int | None = None, **metadata: str
    ) -> None:
        """Keep the code, the text, and every changing part of the text under a name of its own.

        `retry_delay_ms`: where it is known how long to wait. Two names are the wire's own and
        never given here: `outcome` and `retryable` follow from the code.
        """
        assert not metadata.keys() & {"outcome", "retryable"}, "ERROR_METADATA_RESERVED"
        super().__init__(f"{code.name}: {detail}")
        self.code = code
        self.detail = detail
        self.retry_delay_ms = retry_delay_ms
        self.metadata = metadata


class MalformedError(Exception):
    """Bytes that do not parse. The reader's owner decides what that means.

    From a client it becomes CORRUPT_BATCH; in a cache a rebuild; in the journal a torn tail or rot.
    """

    def __init__(self, what: str, at: int, why: str) -> None:
        """Name the thing, the byte where it begins, and the field that is wrong."""
        super().__init__(f"{what} at byte {at}: {why}")
        self.what = what
        self.at = at
        self.why = why


class StorageFailed(Exception):  # noqa: N818 - an event in a directory's life, not a caller's error
    """A write, sync or read that the disk refused: the log directory is offline from here on (P44).

    Nobody retries it. Clients whose answer was pending get STORAGE_ERROR; the node exits 11.
    """

    def __init__(self, file: str, errno: int, operation: str) -> None:
        """Name the file within its directory, the system's error number, and what was tried."""
        super().__init__(f"{operation} {file}: {errorcode.get(errno, 'errno')} ({errno})")
        self.file = file
        self.errno = errno
        self.operation = operation


class DirectoryExit(IntEnum):
    """Exit codes of a server whose log directory cannot be served."""

    FAILED = 11
    """Write, sync, or the checksum of its own metadata."""
    FENCED = 12
    """A duplicate id, a cloned or rolled-back directory, another cluster's."""
    NEWER_FORMAT = 13
    """A file's format is newer than this program (P67)."""


class DirectoryRefused(Exception):  # noqa: N818 - ends the start of a node, never a request
    """A log directory that must not be opened; the server prints one line and exits."""

    def __init__(self, exit_code: int, detail: str) -> None:
        """Say with which exit code the server ends, and why, naming the file.

        Raises:
            ValueError: the exit code is none of `DirectoryExit`.
        """
        super().__init__(detail)
        self.exit_code = DirectoryExit(exit_code)
        self.detail = detail

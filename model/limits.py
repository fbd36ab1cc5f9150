"""Every hard bound, in one table: value, unit, and why it is what it is.

A bound stands here and nowhere else. What an operator may change is a setting and stands with its
component; the bounds of such a setting stand here when a client can run into them. Each name ends
in its unit, unless it counts something.
"""

from dataclasses import dataclass
from typing import Final

from model.settings import Unit

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound. `reason` says what it protects, and the promise behind it where there is one."""

    name: str
    value: int
    unit: Unit
    reason: str


# Records, batches and what travels in one message.
BATCH_BYTES_DEFAULT: Final = Limit(
    "batch_bytes_default", MIB, Unit.BYTES, "max.message.bytes of a topic that sets none: Kafka's."
)
BATCH_BYTES_MAX: Final = Limit(
    "batch_bytes_max",
    3 * MIB,
    Unit.BYTES,
    "max.message.bytes can be raised so far: a batch always fits one gRPC message of 4 MiB.",
)
BATCH_DECOMPRESSED_BYTES_MAX: Final = Limit(
    "batch_decompressed_bytes_max",
    64 * MIB,
    Unit.BYTES,
    "A small batch may claim to be any size; beyond this it is served opaque only (P56).",
)
HEADERS_PER_RECORD_MAX: Final = Limit(
    "headers_per_record_max",
    1_000,
    Unit.COUNT,
    "A header takes two bytes or more: without a bound one record could hold the loop.",
)
REQUEST_BYTES_MAX: Final = Limit(
    "request_bytes_max",
    16 * MIB,
    Unit.BYTES,
    "A Kafka request is refused on its length prefix, before a byte is allocated (P55).",
)
UNAUTHENTICATED_REQUEST_BYTES_MAX: Final = Limit(
    "unauthenticated_request_bytes_max",
    64 * KIB,
    Unit.BYTES,
    "A stranger needs no more to prove who it is (P55).",
)
GRPC_REQUEST_BYTES_MAX: Final = Limit(
    "grpc_request_bytes_max",
    8 * MIB,
    Unit.BYTES,
    "Several batches in one call, whatever the client's library adds.",
)
GRPC_ANSWER_BYTES_MAX: Final = Limit(
    "grpc_answer_bytes_max",
    4 * MIB - 64 * KIB,
    Unit.BYTES,
    "gRPC clients refuse more than 4 MiB unless told otherwise; the rest is room for framing.",
)
CALL_ITEMS_MAX: Final = Limit(
    "call_items_max",
    10_000,
    Unit.COUNT,
    "Batches, cursors or partitions that one gRPC call names: each has a row in its answer.",
)
FETCH_PARTITION_BYTES_DEFAULT: Final = Limit(
    "fetch_partition_bytes_default", MIB, Unit.BYTES, "One partition's share of a Fetch answer."
)
FETCH_BYTES_MAX: Final = Limit(
    "fetch_bytes_max",
    3 * MIB,
    Unit.BYTES,
    "A gRPC Fetch or Subscribe message; one batch is sent even if it alone is larger.",
)
SUBSCRIBE_BYTES_DEFAULT: Final = Limit(
    "subscribe_bytes_default",
    512 * KIB,
    Unit.BYTES,
    "Large enough to be fast, small enough that a reader's first record comes soon.",
)
OFFSET_METADATA_BYTES_MAX: Final = Limit(
    "offset_metadata_bytes_max",
    4 * KIB,
    Unit.BYTES,
    "Text beside a committed offset stays in the coordinator's memory; Kafka's bound.",
)
NAME_CHARACTERS_MAX: Final = Limit(
    "name_characters_max",
    249,
    Unit.COUNT,
    "Topic, group and client names; Kafka's bound, so that names move between the two (P54).",
)
PAGE_ITEMS_DEFAULT: Final = Limit(
    "page_items_default", 100, Unit.COUNT, "A list call that asks for no page size."
)
PAGE_ITEMS_MAX: Final = Limit(
    "page_items_max", 1_000, Unit.COUNT, "One page of a list call is one message."
)
LEADER_TRAILERS_MAX: Final = Limit(
    "leader_trailers_max",
    16,
    Unit.COUNT,
    "tidelog-leader entries in one answer's trailing metadata: gRPC bounds headers at 8 KiB.",
)

# Connections.
CONNECTIONS_MAX: Final = Limit(
    "connections_max", 2_000, Unit.COUNT, "Memory and descriptors of a node (P54)."
)
CONNECTIONS_PER_ADDRESS_MAX: Final = Limit(
    "connections_per_address_max", 200, Unit.COUNT, "One machine cannot lock the others out (P54)."
)
STREAMS_PER_CONNECTION_MAX: Final = Limit(
    "streams_per_connection_max", 100, Unit.COUNT, "gRPC calls at once on one connection (P54)."
)
REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX: Final = Limit(
    "requests_in_flight_per_connection_max",
    100,
    Unit.COUNT,
    "Above it the node stops reading from the connection until one is answered (P54).",
)
CONNECTION_BUFFER_BYTES_MAX: Final = Limit(
    "connection_buffer_bytes_max",
    MIB,
    Unit.BYTES,
    "Beside the one request being read; a slow reader holds no more (P53, P58).",
)
MEMORY_BUDGET_PERCENT_DEFAULT: Final = Limit(
    "memory_budget_percent_default",
    25,
    Unit.PERCENT,
    "All request and answer buffers, of the memory the process may use; then sockets wait (P53).",
)
HANDSHAKE_MS_MAX: Final = Limit(
    "handshake_ms_max",
    10 * SECOND,
    Unit.MILLISECONDS,
    "From the first byte to an authenticated client (P57).",
)
CONNECTION_IDLE_MS_MAX: Final = Limit(
    "connection_idle_ms_max",
    10 * MINUTE,
    Unit.MILLISECONDS,
    "A Kafka connection without a request is closed; clients reconnect by themselves (P57).",
)
REQUEST_PACE_BYTES_MIN: Final = Limit(
    "request_pace_bytes_min",
    64 * KIB,
    Unit.BYTES,
    "Of a Kafka request, in request_pace_ms, while others wait for the memory that it has (P57).",
)
REQUEST_PACE_MS: Final = Limit(
    "request_pace_ms",
    2 * SECOND,
    Unit.MILLISECONDS,
    "A client that sends less in it is cut off: it may stand still only while nobody waits (P57).",
)
FILE_DESCRIPTORS_PERCENT_MAX: Final = Limit(
    "file_descriptors_percent_max",
    90,
    Unit.PERCENT,
    "Of the process's limit; beyond it new clients are refused, so that the log has some (P59).",
)

# gRPC's keepalive.
STREAM_SILENCE_MS_MAX: Final = Limit(
    "stream_silence_ms_max",
    5 * SECOND,
    Unit.MILLISECONDS,
    "A server stream always says something, so that a dead one is noticed.",
)
PING_INTERVAL_MS_MIN: Final = Limit(
    "ping_interval_ms_min",
    10 * SECOND,
    Unit.MILLISECONDS,
    "A client may ping so often without data; gRPC's own bound of 5 min ends honest connections.",
)
KEEPALIVE_INTERVAL_MS: Final = Limit(
    "keepalive_interval_ms", 60 * SECOND, Unit.MILLISECONDS, "The node pings a silent client."
)
KEEPALIVE_TIMEOUT_MS: Final = Limit(
    "keepalive_timeout_ms", 20 * SECOND, Unit.MILLISECONDS, "No answer to a ping: hung up."
)
CONNECTION_AGE_MS_MAX: Final = Limit(
    "connection_age_ms_max",
    30 * MINUTE,
    Unit.MILLISECONDS,
    "Older gRPC connections are asked to reconnect, so that load spreads again.",
)
CONNECTION_AGE_GRACE_MS: Final = Limit(
    "connection_age_grace_ms",
    60 * SECOND,
    Unit.MILLISECONDS,
    "Time that the calls of an old connection have to end; streams are resumed.",
)

# Waiting.
PRODUCE_WAIT_MS_MAX: Final = Limit(
    "produce_wait_ms_max",
    30 * SECOND,
    Unit.MILLISECONDS,
    "How long an append may wait for its acknowledgement before it is answered UNKNOWN.",
)
LOOP_SLICE_MS: Final = Limit(
    "loop_slice_ms",
    2,
    Unit.MILLISECONDS,
    "Decoding on the loop lets others run after so long, whatever the batch.",
)
LOOP_CALLBACK_MS_MAX: Final = Limit(
    "loop_callback_ms_max",
    20,
    Unit.MILLISECONDS,
    "No callback holds the loop for longer; the tests measure it.",
)

# What clients can create.
PARTITIONS_PER_TOPIC_MAX: Final = Limit(
    "partitions_per_topic_max", 1_000, Unit.COUNT, "One typing error cannot use up a node (P54)."
)
TOPICS_MAX: Final = Limit(
    "topics_max", 10_000, Unit.COUNT, "Every node holds the image of all of them (P54)."
)
PARTITIONS_PER_NODE_MAX: Final = Limit(
    "partitions_per_node_max",
    10_000,
    Unit.COUNT,
    "Replicas on one node: each has an open segment and a place in memory (P54).",
)
REMOVALS_AWAITED_MAX: Final = Limit(
    "removals_awaited_max",
    10_000,
    Unit.COUNT,
    "Deleted topics of which the controllers still await one node's word that it has removed them: "
    "as many as it can have replicas of. One that stays away for ever costs no more (P46).",
)
PRODUCER_IDS_PER_NODE_MAX: Final = Limit(
    "producer_ids_per_node_max",
    1_000_000,
    Unit.COUNT,
    "Producers remembered at once, counted in each partition that they wrote to; some 400 bytes "
    "each. Beyond it the idle longest of the partitions with most are forgotten (P54).",
)
PRODUCER_BATCHES_REMEMBERED: Final = Limit(
    "producer_batches_remembered",
    5,
    Unit.COUNT,
    "Requests that a producer may have in flight for a partition and still repeat safely (P11).",
)
GROUPS_MAX: Final = Limit(
    "groups_max", 10_000, Unit.COUNT, "State in the memory of coordinators (P54)."
)
JOIN_STARTS_BYTES_MAX: Final = Limit(
    "join_starts_bytes_max",
    MIB,
    Unit.BYTES,
    "Places that are committed with a join, beside what else it decides: all is one batch.",
)
MEMBERS_PER_GROUP_MAX: Final = Limit(
    "members_per_group_max", 1_000, Unit.COUNT, "Assigning is work for each member (P54)."
)
SESSION_TIMEOUT_MS_MIN: Final = Limit(
    "session_timeout_ms_min",
    SECOND,
    Unit.MILLISECONDS,
    "Below it a pause of the network or of a garbage collector ends a membership.",
)
SESSION_TIMEOUT_MS_MAX: Final = Limit(
    "session_timeout_ms_max",
    60 * MINUTE,
    Unit.MILLISECONDS,
    "A silent member's partitions stand still for so long (P31).",
)
REBALANCE_TIMEOUT_MS_MIN: Final = Limit(
    "rebalance_timeout_ms_min",
    SECOND,
    Unit.MILLISECONDS,
    "A record in hand and its commit take some time; less would take partitions by force always.",
)
REBALANCE_TIMEOUT_MS_MAX: Final = Limit(
    "rebalance_timeout_ms_max",
    60 * MINUTE,
    Unit.MILLISECONDS,
    "A slow member's partitions can be kept from their next owner for so long (P31).",
)
RESUME_TIMEOUT_MS_MAX: Final = Limit(
    "resume_timeout_ms_max",
    5 * MINUTE,
    Unit.MILLISECONDS,
    "A killed member's partitions stand still for so long; a restart of it takes no longer.",
)
FETCH_SESSIONS_MAX: Final = Limit(
    "fetch_sessions_max", 1_000, Unit.COUNT, "Kafka's incremental fetches; the eldest goes (P54)."
)

# Disk.
DISK_RESERVE_PERCENT: Final = Limit(
    "disk_reserve_percent",
    5,
    Unit.PERCENT,
    "Of the file system, or disk_reserve_bytes if that is less: appends end there (P48).",
)
DISK_RESERVE_BYTES: Final = Limit(
    "disk_reserve_bytes",
    GIB,
    Unit.BYTES,
    "So that deleting, committing and metadata still find room on a full disk (P48).",
)

LIMITS: Final = tuple(row for row in list(globals().values()) if isinstance(row, Limit))
"""Every bound above, in that order: the rows of docs/reference/limits.md."""


def reference() -> str:
    """Return the Markdown table of every bound."""
    rows = ["| limit | value | unit | reason |", "| --- | ---: | --- | --- |"]
    rows += [f"| `{row.name}` | {row.value:,} | {row.unit} | {row.reason} |" for row in LIMITS]
    return "\n".join(rows)

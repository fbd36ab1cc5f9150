"""What to do about each refusal: the sentence after `hint:` on the command line and in the docs.

Keyed by the name of an `ErrorCode`; `model.errors` refuses to load when one is missing.
"""

from typing import Final

HINTS: Final = {
    "INVALID_REQUEST": "Correct the field that the message names, within the bounds it gives.",
    "CROSS_PARTITION_CHECK": "Check only streams of the partition that is written, or write first "
    "and check after.",
    "INVALID_TOPIC_NAME": "Use 1 to 249 characters of a-z, A-Z, 0-9, dot, underscore and hyphen; "
    "the names . and .. are taken.",
    "INVALID_PARTITION_COUNT": "Ask for at least one, and for more than the topic has: partitions "
    "are added, never removed.",
    "INVALID_REPLICATION_FACTOR": "Ask for at least one replica and at most one for each broker.",
    "INVALID_CONFIG": "Compare name and value with docs/reference/settings.md; the message names "
    "the bounds.",
    "RECORD_TOO_LARGE": "Send smaller batches, or raise max.message.bytes of the topic (3 MiB at "
    "most).",
    "OFFSET_METADATA_TOO_LARGE": "Store at most 4 KiB with an offset, and the rest in a topic.",
    "TIMESTAMP_OUT_OF_RANGE": "Give event times in milliseconds since 1970 UTC; the topic's bounds "
    "are tidelog.timestamp.past.max.ms and tidelog.timestamp.future.max.ms.",
    "UNSUPPORTED_COMPRESSION": "Compress with gzip, snappy, lz4 or zstd, or not at all.",
    "CORRUPT_BATCH": "Send the batch again; if it fails each time, the client or the way to the "
    "node damages it.",
    "CORRUPT_LOG": "Read around the offsets named, and run: tidelog verify DIR on each replica.",
    "UNKNOWN_TOPIC": "Look at: tidelog topic list; create it with: tidelog topic create NAME.",
    "UNKNOWN_PARTITION": "Partitions count from 0; look at: tidelog topic describe NAME.",
    "UNKNOWN_BROKER": "Look at: tidelog broker list.",
    "UNKNOWN_GROUP": "Look at: tidelog group list; a group exists from its first member or commit.",
    "UNKNOWN_QUEUE": "Look at: tidelog queue list; create it with: tidelog queue create NAME.",
    "UNKNOWN_STREAM": "Append its first event with: tidelog stream append TOPIC STREAM.",
    "TOPIC_ALREADY_EXISTS": "Choose another name, or pass --if-not-exists.",
    "QUEUE_ALREADY_EXISTS": "Choose another name, or change it with: tidelog queue update.",
    "POLICY_VIOLATION": "The message names the rule, and the command that fits the topic's kind.",
    "OFFSET_OUT_OF_RANGE": "Seek to a place between the two ends that the message names.",
    "HISTORY_NOT_KEPT": "Ask for a later time, or keep more with the group's offsets.history.ms.",
    "NOT_LEADER": "Ask the node that the metadata names, or leave out tidelog-no-forward.",
    "NOT_COORDINATOR": "Ask the node that the metadata names, or leave out tidelog-no-forward.",
    "LEADER_NOT_AVAILABLE": "Wait and try again; if it lasts, look at: tidelog cluster health.",
    "NO_QUORUM": "Start the controllers that are down; look at: tidelog quorum status.",
    "OFFSET_NOT_AVAILABLE": "Wait a moment and try again.",
    "READ_NOT_CONFIRMED": "Try again, or read with consistency LEADER.",
    "NODE_UNREACHABLE": "Wait and try again; if it lasts, see: tidelog cluster health, and the "
    "addresses that nodes advertise to each other.",
    "NOT_ENOUGH_REPLICAS": "See which replica is missing with: tidelog cluster health; nothing was "
    "appended.",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": "The records may be stored: repeat them only with an "
    "idempotent producer; look at: tidelog cluster health.",
    "LEADERSHIP_LOST": "The records may be stored: repeat them only with an idempotent producer.",
    "UPSTREAM_LOST": "The call may have taken effect: repeat it only if it is idempotent.",
    "REQUEST_TIMED_OUT": "The call may have taken effect: repeat it only if it is idempotent, with "
    "a longer timeout.",
    "FENCED_EPOCH": "Ask for the partition's leader anew, then read on from there.",
    "UNKNOWN_EPOCH": "Wait a moment: the node has yet to hear of the election.",
    "STORAGE_ERROR": "Look for the file and error number in the node's log; another replica takes "
    "over. Repeat only what is idempotent.",
    "DISK_FULL": "Free space with: tidelog topic trim or shorter retention, or add some; service "
    "resumes by itself.",
    "QUOTA_EXCEEDED": "Wait as long as the answer says, or have the quota raised.",
    "OVERLOADED": "Wait as long as the answer says, and keep fewer requests in flight.",
    "LIMIT_EXCEEDED": "Remove what is not needed; docs/reference/limits.md has every bound.",
    "DUPLICATE_SEQUENCE": "Nothing: the records are in the log once.",
    "OUT_OF_ORDER_SEQUENCE": "Find out which earlier batch failed; then go on with a new producer "
    "id.",
    "UNKNOWN_PRODUCER_ID": "Read the end of the log to see what arrived; then go on with a new "
    "producer id.",
    "PRODUCER_FENCED": "Stop this instance: another one goes by the same name.",
    "INVALID_TXN_STATE": "Begin a transaction before anything is added to it, and end it once.",
    "INVALID_TXN_TIMEOUT": "Ask for a timeout up to transaction.max.timeout.ms.",
    "CONCURRENT_TRANSACTIONS": "Wait a moment and try again.",
    "TRANSACTION_ABORTABLE": "Abort the transaction, then begin anew.",
    "COORDINATOR_LOADING": "Wait a moment and try again.",
    "COORDINATOR_NOT_AVAILABLE": "Wait and try again; if it lasts, look at: tidelog cluster "
    "health.",
    "UNKNOWN_MEMBER": "Join the group anew.",
    "STALE_MEMBER_EPOCH": "Join the group anew; what was not committed is delivered again.",
    "FENCED_INSTANCE": "Give each member an instance id of its own.",
    "REBALANCE_IN_PROGRESS": "Join the group anew.",
    "GROUP_NOT_EMPTY": "Stop its members, or pass --force: they are fenced and go on from there.",
    "GROUP_KIND_MISMATCH": "Use another group name, or stop the members of the other kind.",
    "WRONG_EXPECTED_VERSION": "Read the stream on from the version you know, decide again, append.",
    "LEASE_EXPIRED": "Settle sooner, renew the lease, or give the queue a longer one.",
    "ETAG_MISMATCH": "Read it again, apply the change to what is there now, write it back.",
    "REASSIGNMENT_IN_PROGRESS": "Wait for it, or cancel it first.",
    "NO_REASSIGNMENT": "Look at what is being moved with: tidelog partition status.",
    "NO_ELIGIBLE_LEADER": "Bring a replica back; the last resort, which loses records, is: tidelog "
    "partition elect --unclean.",
    "BROKER_NOT_EMPTY": "Drain it first with: tidelog broker drain.",
    "QUORUM_CHANGE_IN_PROGRESS": "Wait for the change under way: there is one at a time.",
    "DUPLICATE_VOTER": "Nothing, if it is the same directory; else remove the old voter first.",
    "UNKNOWN_VOTER": "Look at: tidelog quorum status.",
    "AUTHENTICATION_FAILED": "Check user, password or certificate, and that the way is TLS.",
    "ACCESS_DENIED": "Ask for the operation that the message names; look at: tidelog acl test.",
    "WRONG_CLUSTER": "Check the addresses, or the cluster id that the client was given.",
    "NOT_IMPLEMENTED": "docs/reference/rpcs.md says what this release serves.",
    "SHUTTING_DOWN": "Go on at once with another node; alone, it is back when it has restarted.",
    "INTERNAL": "Report it with the id from the message and the node's log around it.",
}

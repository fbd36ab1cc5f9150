"""The closed list of what a node logs. A name that is not here cannot be written.

Names are stable: alerts and searches are built on them. docs/reference/settings.md says how lines
look; payloads, keys, passwords and tokens are in none (P65).
"""

from typing import Final, NamedTuple

from api.settings import LogLevel


class LogEvent(NamedTuple):
    """One kind of line."""

    level: LogLevel
    about: str


DEBUG, INFO, WARNING, ERROR = LogLevel

EVENTS: Final = {
    # The node's life.
    "node_starting": LogEvent(INFO, "A node begins: version, directory, process."),
    "node_recovered": LogEvent(INFO, "The log directory is open: new, or what was recovered."),
    "node_ready": LogEvent(INFO, "Every listener is open."),
    "node_stopping": LogEvent(INFO, "The listeners are closed; what was accepted is saved."),
    "node_stopped": LogEvent(INFO, "The node has ended, with this exit code."),
    "node_failed": LogEvent(ERROR, "The node cannot go on; it stops."),
    "node_open": LogEvent(WARNING, "Anybody who reaches a listener may connect: security.mode."),
    "address_in_doubt": LogEvent(WARNING, "Others may reach nobody where they are told to: why."),
    "config_unknown": LogEvent(WARNING, "A setting that nobody knows was passed over."),
    # The log directory.
    "recovery_dropped": LogEvent(WARNING, "Bytes that a crash left unfinished were cut off."),
    "recovery_repaired": LogEvent(WARNING, "Damage below the checkpoint was made good or noted."),
    "partition_stray": LogEvent(WARNING, "Files of a partition that the metadata does not have."),
    "storage_failed": LogEvent(ERROR, "A write, sync or read failed: the directory is offline."),
    "disk_low": LogEvent(WARNING, "Free space is at the reserve: appends are refused."),
    "log_corrupt": LogEvent(ERROR, "A place on the disk is damaged: file, byte and why."),
    "partition_set_aside": LogEvent(WARNING, "Files lay where a new partition begins; kept."),
    "repair_refused": LogEvent(INFO, "A replica was asked for what is damaged here: why not."),
    "repair_impossible": LogEvent(ERROR, "No replica has what is damaged here: tried again."),
    "repair_not_handed_over": LogEvent(INFO, "It leads on while it mends: who did not take over."),
    "state_lacking": LogEvent(WARNING, "What a coordinator's log rests on is not all here: why."),
    "state_handed_over": LogEvent(INFO, "It lacks the state of what it was to lead: who leads."),
    "segment_mended": LogEvent(INFO, "A damaged segment is whole again, by other replicas."),
    "scrub_ended": LogEvent(INFO, "Every closed segment was read again; what it found so far."),
    "retention_deleted": LogEvent(INFO, "Old segments were removed."),
    "clock_in_doubt": LogEvent(WARNING, "The machine's date jumped; append time follows slowly."),
    "producers_forgotten": LogEvent(
        WARNING, "Too many producers for the node's limit: those idle longest begin anew."
    ),
    # Metadata.
    "topic_created": LogEvent(INFO, "A topic came into being."),
    "topic_deleted": LogEvent(INFO, "A topic was deleted."),
    "topic_changed": LogEvent(INFO, "A topic's settings or partitions changed."),
    "removals_given_up": LogEvent(
        WARNING, "A node is away for too many deletions: what it keeps of the oldest stays there."
    ),
    # The cluster.
    "peer_listening": LogEvent(INFO, "Other nodes can reach this one from here on."),
    "peer_up": LogEvent(INFO, "Another node is reached."),
    "peer_lost": LogEvent(INFO, "It is not any more: how its link ended."),
    "peer_refused": LogEvent(WARNING, "One end of a link refused the other, and says why."),
    "quorum_awaited": LogEvent(INFO, "The node waits for seeds that have not answered."),
    "quorum_founded": LogEvent(INFO, "All seeds were there and empty: they are the quorum."),
    "quorum_joined": LogEvent(INFO, "A seed knows a quorum: the node becomes a part of it."),
    "broker_registered": LogEvent(INFO, "The controller knows this node, in this epoch."),
    "cluster_joined": LogEvent(INFO, "The node hosts what the metadata give it: it serves."),
    "cluster_left": LogEvent(INFO, "What this node led is handed over, but for so many."),
    "controller_active": LogEvent(INFO, "This node leads the controller quorum."),
    "controller_inactive": LogEvent(INFO, "It does not any more."),
    "controller_not_taken": LogEvent(INFO, "The quorum did not take a change of the controller's."),
    "leaders_balanced": LogEvent(INFO, "Leaderships went back to a node that has returned."),
    "broker_fenced": LogEvent(WARNING, "A node is taken for dead: others lead its partitions."),
    "broker_clock_in_doubt": LogEvent(
        WARNING, "A node's clock is not the majority's by more than a minute: it leads nothing."
    ),
    "broker_clock_trusted": LogEvent(INFO, "It is again: the node may lead."),
    "partition_led": LogEvent(INFO, "This node leads a partition from here on, in this epoch."),
    "partition_left": LogEvent(INFO, "This node does not lead it any more."),
    "unclean_election": LogEvent(ERROR, "It leads one that may lack acknowledged records."),
    "unclean_election_asked": LogEvent(ERROR, "Somebody had a replica lead at any price: who."),
    "unclean_election_failed": LogEvent(ERROR, "It does not lead, or nobody knows: which, why."),
    "replica_halted": LogEvent(ERROR, "A replica stands still until somebody looks: why."),
    # Groups.
    "group_upkeep_refused": LogEvent(WARNING, "A group could not follow its topics; once more."),
    # Clients.
    "client_gone": LogEvent(DEBUG, "A client hung up in the middle of its call."),
    "kafka_accept_failed": LogEvent(WARNING, "A client was turned away: no descriptor was left."),
    "kafka_api_unsupported": LogEvent(INFO, "A client asked for an API or version we lack."),
    "kafka_connection_idle": LogEvent(DEBUG, "A silent connection was closed."),
    "http_connection_refused": LogEvent(
        WARNING, "A limit of connections to the status page is reached."
    ),
    "kafka_connection_refused": LogEvent(WARNING, "A limit of connections is reached."),
    "kafka_connection_slow": LogEvent(
        INFO, "A client sent its request too slowly while others waited for its room."
    ),
    "kafka_connection_stalled": LogEvent(INFO, "A client stood still within a request."),
    "kafka_request_malformed": LogEvent(WARNING, "A client sent bytes that make no sense."),
    "kafka_request_too_large": LogEvent(WARNING, "A request is longer than is allowed."),
    "request_failed": LogEvent(ERROR, "A bug: the client was told INTERNAL, with this id."),
    "memory_congested": LogEvent(WARNING, "Buffers are at their budget: a request was refused."),
    # Others.
    "library_message": LogEvent(WARNING, "A library that we use has something to say."),
}

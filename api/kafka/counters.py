"""What one Kafka listener counts about itself."""

from model.counters import Counters


class KafkaCounters(Counters):
    """All but `connections`, a gauge, only grow."""

    __slots__ = (
        "accept_errors",
        "accepted",
        "closed_idle",
        "closed_slow",
        "closed_stalled",
        "connections",
        "malformed",
        "oversized",
        "refused_address_full",
        "refused_descriptors",
        "refused_full",
        "requests",
        "unsupported",
    )
    accept_errors: int
    accepted: int
    closed_idle: int
    closed_slow: int
    closed_stalled: int
    connections: int
    malformed: int
    oversized: int
    refused_address_full: int
    refused_descriptors: int
    refused_full: int
    requests: int
    unsupported: int

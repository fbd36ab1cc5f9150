"""Identifiers and coordinates, as distinct types.

Offsets, epochs and byte positions are all integers; a type of its own for each lets the checker
refuse to add one to another, and to compare one clock with the other.
"""

from typing import NamedTuple, NewType

Offset = NewType("Offset", int)
"""Place of a record in its partition. The first is 0; none is ever used twice (P9)."""

Position = NewType("Position", int)
"""Byte position inside one file."""

LeaderEpoch = NewType("LeaderEpoch", int)
"""Counts the leaderships of one partition; grows with every election."""

EventTimeMs = NewType("EventTimeMs", int)
"""When the producer says it happened: ms since 1970 UTC, per record, in any order."""

AppendTimeMs = NewType("AppendTimeMs", int)
"""When the leader appended it: ms since 1970 UTC, per batch, a multiple of 10, never falls."""

WallMs = NewType("WallMs", int)
"""This machine's date, ms since 1970 UTC. May jump either way; orders and expires nothing."""

MonotonicMs = NewType("MonotonicMs", int)
"""This process's own clock. Every timeout uses it; it means nothing on another node."""

NodeId = NewType("NodeId", int)
"""Number of a node, chosen by its operator; unique in the cluster."""

RegistrationEpoch = NewType("RegistrationEpoch", int)
"""Counts the registrations of one node with the controller, one for each start (KIP-903)."""

ProducerId = NewType("ProducerId", int)
"""64-bit identity of a producer, given out once by the controller and never again."""

ProducerEpoch = NewType("ProducerEpoch", int)
"""16-bit count of the instances of one producer id; a lower one than the newest is fenced."""

Sequence = NewType("Sequence", int)
"""A producer's own count of its records per partition: 0..2^31-1, then 0 again (KIP-98)."""

Term = NewType("Term", int)
"""Counts the elections of the controller quorum: Raft's term, never a leader epoch."""

Index = NewType("Index", int)
"""Place of an entry in the controller quorum's log: Raft's index. The first entry is 1."""

TopicName = NewType("TopicName", str)
"""A legal topic name, as `model.names` accepted it. Paths are never built from it (P65)."""

TopicId = NewType("TopicId", bytes)
"""16 bytes chosen by the controller; a topic created again under the same name gets another."""

GroupId = NewType("GroupId", str)
"""A legal group name, as `model.names` accepted it."""


class PartitionId(NamedTuple):
    """One partition of one topic."""

    topic: TopicId
    number: int

"""The composition root of one node: the only place that constructs implementations.

Order at start: the log directory is recovered, the metadata log opened, the node registered, its
partitions hosted; then doors may open. Order at stop: doors drain, what was accepted is written,
a checkpoint covers it, the directory is marked clean.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from api.broker.broker import Broker
from api.broker.context import BrokerContext
from api.broker.housekeeping import Housekeeping
from api.broker.memory import MemoryBudget
from api.settings import NodeSettings
from cluster.controller.brokers import FormCluster, RegisterBroker
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.topics import TopicRemoved
from cluster.raft.voters import Voter
from cluster.shell.disk_writer import DiskWriter
from cluster.shell.one_voter import Doors as QuorumDoors
from cluster.shell.one_voter import OneVoter
from cluster.shell.partitions import Partitions
from cluster.shell.tick import Tick
from cluster.shell.worker import Worker
from logstore.append_clock import AppendClock
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.recovery_report import RecoveryReport
from model.ids import NodeId, PartitionId
from model.ports import Clock, Disk, Rand, Spawn


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The doors to the world that a node is given; the tests' and the simulator's have the same."""

    disk: Disk
    clock: Clock
    rand: Rand
    spawn: Spawn

"""The coordinators of consumer groups, as use cases see them: machines whose records are a log."""

from typing import TypeAlias

from cluster.shell.state_partitions import StatePartitions
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord

GroupState: TypeAlias = StatePartitions[GroupMachine, GroupRecord]

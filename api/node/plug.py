"""Plugs machines into the internal topics that hold their records."""

from collections.abc import Callable
from weakref import WeakSet

from api.broker.context import BrokerContext
from api.broker.group_state import GroupState
from cluster.settings import ClusterSettings
from cluster.shell.led_state import StateDoors
from cluster.shell.state_partitions import StatePartitions
from cluster.shell.worker import Worker
from cluster.state_partition.layout import CONSUMER_OFFSETS, StateTopic
from consumer_groups.codec import decode, encode
from consumer_groups.machine import GroupMachine
from consumer_groups.records import group_of_members
from consumer_groups.settings import GroupSettings
from model.ports import Disk


def plug_groups(
    context: BrokerContext,
    *,
    disk: Disk,
    worker: Worker,
    cluster: ClusterSettings,
    groups: GroupSettings,
    failed: Callable[[Exception], None],
) -> GroupState:
    """Return the coordinators of consumer groups; `restore` is to be awaited before doors open."""
    machines: WeakSet[GroupMachine] = WeakSet()  # a host lets go of its own when it resigns

    def new_machine() -> GroupMachine:
        machine = GroupMachine(groups, all_groups=lambda: sum(m.group_count() for m in machines))
        machines.add(machine)
        return machine

    topic = StateTopic(
        name=CONSUMER_OFFSETS,
        new_machine=new_machine,
        encode=encode,
        decode=decode,
        subject=group_of_members,
    )
    doors = StateDoors(
        intake=context,
        disk=disk,
        worker=worker,
        checkpoint=context.writer.ask,
        failed=failed,
        snapshot_records=cluster.state_snapshot_records,
    )
    return StatePartitions(topic, context.partitions, quorum=context.quorum, doors=doors)

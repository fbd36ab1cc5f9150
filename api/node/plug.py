"""Plugs machines into the internal topics that hold their records."""

from collections.abc import Callable
from weakref import WeakSet

from api.broker.context import BrokerContext
from api.broker.group_state import GroupState
from api.node.membership import Others
from api.settings import NodeSettings
from cluster.shell.state_doors import StateDoors, StateElsewhere
from cluster.shell.state_partitions import StatePartitions
from cluster.shell.worker import Worker
from cluster.state_partition.layout import CONSUMER_OFFSETS, StateTopic
from consumer_groups.codec import decode, encode
from consumer_groups.machine import GroupMachine
from consumer_groups.records import group_of_members
from model.ports import Disk


def plug_groups(
    context: BrokerContext,
    *,
    disk: Disk,
    worker: Worker,
    settings: NodeSettings,
    failed: Callable[[Exception], None],
    others: Others | None = None,
) -> GroupState:
    """Return the coordinators of consumer groups; `restore` is to be awaited before doors open."""
    machines: WeakSet[GroupMachine] = WeakSet()  # a host lets go of its own when it resigns

    def new_machine() -> GroupMachine:
        machine = GroupMachine(
            settings.groups, all_groups=lambda: sum(m.group_count() for m in machines)
        )
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
        snapshot_records=settings.cluster.state_snapshot_records,
        elsewhere=None
        if others is None
        else StateElsewhere(
            node=context.node,
            links=others.state,
            clock=context.clock,
            lacking=others.mending.lacking,
            hand_over=others.mending.let_lead,
        ),
    )
    state = StatePartitions(topic, context.partitions, quorum=context.quorum, doors=doors)
    if others is not None:
        others.tell_roles(state.role_changed)
        others.state.serve(state.serve)
    return state

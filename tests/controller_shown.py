"""Answers and changes of the metadata machine as lines of a script."""

from cluster.controller.image import (
    NO_EPOCH,
    BrokerImage,
    LogEnd,
    MetadataDelta,
    PartitionImage,
    TopicImage,
)
from cluster.controller.isr import IsrAnswer
from model.ids import NodeId


def changes(delta: MetadataDelta) -> list[str]:
    """Print a delta, a line for each thing that changed."""
    return [
        *(f"created {topic.name}" for topic in delta.created),
        *(
            f"changed {topic.name} {' '.join(map(shown_row, topic.partitions))}"
            for topic in delta.changed
        ),
        *(f"deleted {int.from_bytes(topic, 'big')}" for topic in delta.deleted),
        *(f"broker {one.node} {one.standing.name.lower()}" for one in delta.brokers),
        *(f"broker {node} removed" for node in delta.brokers_removed),
    ]


def shown(response: object) -> str:
    """Print an answer; a topic as `name id config rows`."""
    if isinstance(response, TopicImage):
        said = ",".join(f"{key}:{value}" for key, value in sorted(response.config.items()))
        name = f"{response.name} id={int.from_bytes(response.topic_id, 'big')}"
        rows = " ".join(map(shown_row, response.partitions))
        return f"{name} v{response.config_version} [{said}] {rows}"
    if isinstance(response, PartitionImage):
        return shown_row(response)
    if isinstance(response, BrokerImage):
        directory = response.directory.hex()[:4]
        return f"broker {response.node} of {directory}: registration {response.registration_epoch}"
    if isinstance(response, tuple) and all(isinstance(one, IsrAnswer) for one in response):
        return "\n".join(
            f"{verdict.value}: {'-' if row is None else shown_row(row)}"
            for verdict, row in response
        )
    return str(response)


def shown_row(row: PartitionImage) -> str:
    """Print a row as number:replicas@leader.epoch, and what else is not as it is at first.

    A member of the ELR that is marked is followed by `?`, and by the end that it told.
    """
    text = f"{row.number}:{nodes(row.replicas)}@{'-' if row.leader is None else row.leader}"
    text += f".{row.leader_epoch}"
    if row.isr != row.replicas:
        text += f" isr={nodes(row.isr)}"
    ends = {mark.node: mark.recovered for mark in row.unclean}
    if row.elr:
        elr = [f"{node}{'?' if node in ends else ''}{ended(ends.get(node))}" for node in row.elr]
        text += f" elr={'+'.join(elr)}"
    if row.lost:
        text += f" lost={nodes(row.lost)}"
    if row.lossy_epoch != NO_EPOCH:
        text += f" lossy={row.lossy_epoch}"
    return text


def ended(end: LogEnd | None) -> str:
    return "" if end is None else f"{end.last_epoch}:{end.log_end}"


def nodes(members: tuple[NodeId, ...]) -> str:
    return "+".join(map(str, members)) or "-"

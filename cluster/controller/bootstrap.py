"""How an empty directory becomes part of a cluster: it forms one with all seeds, joins, or waits.

A cluster forms only when every seed answers, and every one is empty and of the same cluster id:
so volumes that were wiped never form a second cluster beside what is left of the first. There is
nothing to agree upon: whoever sees all seeds empty founds the quorum of exactly these directories,
and one that asks a little later is told of that quorum by those who have founded it, and finds
itself in it.

The shell of a node whose directory holds no metadata asks every seed, itself included, and every
seed answers with `Empty` or `Member`; then it does what `next_step` says, and asks again while that
is `Wait`. Before it founds anything it writes the voters down, and answers `Member` from then on.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from cluster.controller.registration import Barrier, RegistrationRefused, check_cluster
from model.ids import NodeId


class Founder(NamedTuple):
    """A voter: a node id bound to a directory."""

    node: NodeId
    directory: bytes


class Empty(NamedTuple):
    """A node without metadata."""

    cluster_id: str
    """That it is configured with."""
    founder: Founder


class Member(NamedTuple):
    """A node that knows a quorum."""

    cluster_id: str
    voters: tuple[Founder, ...]


Answer: TypeAlias = Empty | Member


class Form(NamedTuple):
    """Found the quorum of these voters, or enter it if others have founded it already."""

    voters: tuple[Founder, ...]


class Join(NamedTuple):
    """Ask these addresses to be taken in, as a learner first."""

    addresses: tuple[str, ...]


class Wait(NamedTuple):
    """Ask again; these seeds have not answered, or are about to form a cluster without this one."""

    missing: tuple[str, ...]


def next_step(me: Empty, seeds: Sequence[str], answers: Mapping[str, Answer]) -> Form | Join | Wait:
    """Return what an empty node does after it has heard these answers, by seed.

    Raises:
        RegistrationRefused: FOREIGN_CLUSTER, a seed is of another cluster; DUPLICATE_ID, two nodes
            among the seeds have one id. Exit 12.
    """
    for seed in seeds:
        if seed in answers:
            check_cluster(answers[seed].cluster_id, me.cluster_id)
    members = {seed: one for seed, one in answers.items() if isinstance(one, Member)}
    for member in members.values():
        if me.founder in member.voters:
            return Form(member.voters)
    if members:
        return Join(tuple(seed for seed in seeds if seed in members))
    founders = _founders(answers)
    missing = tuple(seed for seed in seeds if seed not in answers)
    if missing or me.founder not in founders:
        return Wait(missing)
    return Form(founders)


def _founders(answers: Mapping[str, Answer]) -> tuple[Founder, ...]:
    """Return the empty nodes among the seeds, by id; one may be reached under two names."""
    found: dict[NodeId, tuple[str, Founder]] = {}
    for seed, answer in answers.items():
        if isinstance(answer, Empty):
            node = answer.founder.node
            first, founder = found.setdefault(node, (seed, answer.founder))
            if founder != answer.founder:
                raise RegistrationRefused(
                    Barrier.DUPLICATE_ID,
                    f"{first} and {seed} are two nodes with the id {node}: give one another id",
                    node=str(node),
                    address=first,
                )
    return tuple(founder for _, (_, founder) in sorted(found.items()))

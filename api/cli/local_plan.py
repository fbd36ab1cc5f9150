"""Which nodes `tidelog local` is about, and with which ports and settings each is started."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

import tidelog
from api.cli.local_ports import FIXED_NODES_MAX, Ports, any_free, fixed, is_free
from api.cli.local_process import READY_FD
from api.cli.local_state import Home, LocalCluster, LocalNode
from api.config_file import ConfigRefused, load
from tidelog.cli.client_settings import SECTION as CLIENT
from tidelog.cli.client_settings import split_override
from tidelog.cli.failure import CommandFailed, Exit, Usage

NODES_DEFAULT: Final = 3
OURS: Final = frozenset(
    {
        "node.id",
        "node.data_dir",
        "cluster.id",
        "cluster.seeds",
        "cluster.secret",
        "cluster.secret_file",
        *(f"listeners.{door}.bind" for door in ("kafka", "external", "grpc", "http", "peer")),
        *(f"listeners.{door}.advertise" for door in ("kafka", "external", "peer")),
    }
)
"""Settings that differ from node to node, or make them one cluster. A second Kafka listener is not
opened: it would have one address for all."""
OUR_VARIABLES: Final = frozenset(
    f"TIDELOG_{name.upper().replace('.', '__')}{end}" for name in OURS for end in ("", "_FILE")
)


def planned(
    known: LocalCluster | None, *, count: int | None, cluster_id: str, any_port: bool
) -> LocalCluster:
    """Return the cluster as it is to be: a new one, or the known one, perhaps with more nodes.

    Raises:
        Usage: fewer nodes than there are, or more than have ports of their own.
    """
    old = () if known is None else known.nodes
    count = count or len(old) or NODES_DEFAULT
    if count < len(old):
        raise Usage(
            f"-n {count}: the cluster has {len(old)} nodes, and a node is not taken away so",
            hint=f"stop some of them: tidelog local stop --node {len(old)}",
        )
    if count > max(FIXED_NODES_MAX, len(old)) and not any_port:
        raise Usage(
            f"-n {count}: there are fixed ports for {FIXED_NODES_MAX} nodes",
            hint="add --any-port",
        )
    nodes = list(old)
    for number in range(len(old) + 1, count + 1):
        taken = chain.from_iterable(one.ports.by_name.values() for one in nodes)
        nodes.append(LocalNode(number, any_free(taken) if any_port else fixed(number)))
    if known is None:
        return LocalCluster(cluster_id, tuple(nodes), founders=count)
    return replace(known, nodes=tuple(nodes))


def chosen(cluster: LocalCluster, numbers: Sequence[int]) -> list[LocalNode]:
    """Return the nodes with these numbers, or all of them if none is named.

    Raises:
        Usage: there is no such node.
    """
    for number in numbers:
        if not 1 <= number <= len(cluster.nodes):
            raise Usage(
                f"--node {number}: there is no such node",
                hint=f"the cluster has nodes 1 to {len(cluster.nodes)}",
            )
    return [one for one in cluster.nodes if not numbers or one.number in numbers]


def with_overrides(cluster: LocalCluster, overrides: Sequence[str]) -> LocalCluster:
    """Return the cluster with settings for its nodes, those of earlier starts among them.

    Raises:
        CommandFailed: a setting that nobody knows, that the command itself sets, or of a bad value.
    """
    wanted = dict(override.split("=", 1) for override in cluster.overrides)
    for override in overrides:
        section, _, _ = split_override(override)
        if section == CLIENT:
            continue
        name, _, text = override.partition("=")
        if name in OURS:
            raise Usage(
                f"-X {override}: tidelog local sees to {name} itself",
                hint="run nodes by hand for that: tidelog serve",
            )
        wanted[name] = text
    pairs = tuple(f"{name}={text}" for name, text in wanted.items())
    try:
        load(overrides=pairs)
    except ConfigRefused as refused:
        raise CommandFailed(
            "\nerror: ".join(refused.problems), hint=refused.hint, exit_code=Exit.CONFIGURATION
        ) from refused
    return replace(cluster, overrides=pairs)


def check_ports(nodes: Sequence[LocalNode]) -> None:
    """Refuse to start nodes whose ports others have.

    Raises:
        CommandFailed: naming them; exit 10, as the node itself would end.
    """
    taken = [
        f"{one.ports.address(door)} ({door} of node {one.number})"
        for one in nodes
        for door, port in one.ports.by_name.items()
        if not is_free(port)
    ]
    if taken:
        raise CommandFailed(
            f"taken by another program: {', '.join(taken)}",
            hint="stop it; or, in a directory of its own, let a new cluster take free ports: "
            "tidelog local start --any-port --data DIR",
            exit_code=Exit.CONFIGURATION,
        )


def command_of(home: Home, cluster: LocalCluster, node: LocalNode) -> list[str]:
    """Return the command of one node: `tidelog serve` of this very interpreter."""
    ports: Ports = node.ports
    settings = [
        f"node.id={node.number}",
        f"node.data_dir={home.data(node.number)}",
        f"cluster.id={cluster.cluster_id}",
        f"cluster.seeds={cluster.seeds}",
        f"cluster.secret_file={home.secret}",
        *(f"listeners.{door}.bind={ports.address(door)}" for door in ports.by_name),
        *cluster.overrides,
    ]
    given = [word for setting in settings for word in ("-X", setting)]
    # -P: a folder named tidelog where the command happens to be called is not ours.
    serve = [sys.executable, "-P", "-m", "tidelog", "serve"]
    return [*serve, "--ready-fd", str(READY_FD), *given]


def environment_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a node: the command's, without what is set for each node.

    The program finds itself there, also in a checkout that is not installed.
    """
    tree = str(Path(tidelog.__file__).parents[1])
    kept = {name: text for name, text in environment.items() if name not in OUR_VARIABLES}
    if not tree.endswith(("site-packages", "dist-packages")):
        kept["PYTHONPATH"] = f"{tree}:{kept['PYTHONPATH']}" if kept.get("PYTHONPATH") else tree
    return kept

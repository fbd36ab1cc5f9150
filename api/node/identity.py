"""Who a node of a cluster is: its number, its secret, and what it tells others of where it is.

A node's number is set, or it ends the name of its machine, so that the nodes of one file of
containers need no settings of their own. Nodes that others can reach know each other by a secret.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from api.addresses import is_every_address, is_loopback, split_address
from api.config_file import DEFAULT, ConfigRefused, Loaded
from api.settings import NODE_ID_MAX, NodeSettings

_ENDS_WITH_NUMBER: Final = re.compile(r"(?:^|[^0-9])([0-9]{1,10})$")
SECRET_BYTES_MAX: Final = 4_096
"""Of the file with the secret."""


def numbered(loaded: Loaded, machine: str) -> Loaded:
    """Return the settings with the node's number; `machine`: the name of the host.

    Raises:
        ConfigRefused: there are seeds, no number is set, and the name has none.
    """
    settings = loaded.settings
    if not settings.cluster.seed_list or loaded.origin("node", "id") != DEFAULT:
        return loaded
    name = machine.partition(".")[0]
    found = _ENDS_WITH_NUMBER.search(name)
    if found is None or int(found.group(1)) > NODE_ID_MAX:
        raise ConfigRefused(
            [f'node.id is not set, and "{name}", the name of this machine, ends with no number'],
            "give each node of the cluster a number of its own: node.id, or --node-id",
        )
    node = replace(settings.node, id=int(found.group(1)))
    origins = {**loaded.origins, ("node", "id"): f"the name of this machine, {name}"}
    return replace(loaded, settings=replace(settings, node=node), origins=origins)


def secret_of(settings: NodeSettings) -> bytes:
    """Return the cluster's secret.

    Raises:
        ConfigRefused: its file cannot be read; or it is empty, and other machines could claim to be
            nodes of the cluster (P60).
    """
    cluster = settings.cluster
    secret = cluster.secret.encode()
    if cluster.secret_file is not None:
        secret = _read(cluster.secret_file)
    beyond = [
        f"{name} = {text}"
        for name, text in (
            ("listeners.peer.bind", settings.peer_listener.bind),
            *(("cluster.seeds", seed) for seed in cluster.seed_list),
        )
        if not is_loopback(split_address(text)[0])
    ]
    if cluster.seed_list and not secret and beyond:
        raise ConfigRefused(
            [f"cluster.secret is empty and {beyond[0]}: any machine could pass for a node"],
            "set one long random text on every node: TIDELOG_CLUSTER__SECRET, "
            "TIDELOG_CLUSTER__SECRET_FILE, cluster.secret or cluster.secret_file",
        )
    return secret


def told_address(settings: NodeSettings, bound: tuple[str, int], machine: str) -> tuple[str, int]:
    """Return where other nodes are told that this one listens; `bound`: where it does."""
    advertise = settings.peer_listener.advertise
    if advertise is not None:
        return split_address(advertise)
    host, port = bound
    return (machine, port) if is_every_address(host) else (host, port)


def _read(path: str) -> bytes:
    hint = "name a readable file with one line: cluster.secret_file"
    try:
        with Path(path).open("rb") as file:
            secret = file.read(SECRET_BYTES_MAX + 1).rstrip(b"\r\n")
    except OSError as error:
        raise ConfigRefused([f"cluster.secret_file: {path}: {error.strerror}"], hint) from error
    if not 0 < len(secret) <= SECRET_BYTES_MAX:
        why = "empty" if not secret else f"more than {SECRET_BYTES_MAX} bytes"
        raise ConfigRefused([f"cluster.secret_file: {path}: {why}"], hint)
    return secret

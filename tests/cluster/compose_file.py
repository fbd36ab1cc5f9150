"""compose.yaml as data, and what must hold of it.

The file is read without a YAML library, by the part of YAML that it keeps to: blocks of mappings,
anchors and `<<`, lists and mappings in one line, scalars. Anything else is refused.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from api.config_file import ConfigRefused, load
from api.node.endpoints import EXTERNAL, check_endpoints, endpoints_of
from api.node.identity import numbered, secret_of
from api.node.refusals import exposure

ROOT: Final = Path(__file__).parents[2]
PATH: Final = ROOT / "compose.yaml"
CHECK: Final = ["CMD", "tidelog", "check", "self"]
LOOPBACK: Final = "127.0.0.1"

_ENTRY: Final = re.compile(r"(?P<key>[\w.<-]+):(?: +(?P<rest>.*))?")
_ANCHOR: Final = re.compile(r"&(?P<name>\w+) *(?P<rest>.*)")
_COMMENT: Final = re.compile(r'^(?P<kept>(?:"[^"]*"|[^"#]|(?<! )#)*?)(?:(?:^| +)#.*)?$')
_TOKEN: Final = re.compile(r' *("[^"]*"|[\[\]{},]|:(?= )|(?:[^\[\]{},":]|:(?! ))+) *')


class Unreadable(ValueError):  # noqa: N818 - says what happened
    """The text is not of the part of YAML that is read here."""


def read(text: str) -> dict[str, Any]:
    """Return the mapping that a text is.

    Raises:
        Unreadable: it is none, or says it in a way that is not known here.
    """
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        found = _COMMENT.match(line)
        kept = found["kept"].rstrip() if found is not None else line
        if kept:
            lines.append((number, len(kept) - len(kept.lstrip()), kept.strip()))
    lines.reverse()
    document = _block(lines, {}, indent=0)
    if lines:
        raise Unreadable(f"line {lines[-1][0]}: indented as nothing before it")
    return document


def _block(
    lines: list[tuple[int, int, str]], anchors: dict[str, Any], *, indent: int
) -> dict[str, Any]:
    """Return the mapping whose entries come next; they are taken from the end of `lines`."""
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    while lines and lines[-1][1] == indent:
        number, _, line = lines.pop()
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise Unreadable(f"line {number}: no entry of a mapping: {line}")
        key, rest = entry["key"], entry["rest"] or ""
        anchor = _ANCHOR.fullmatch(rest)
        rest = rest if anchor is None else anchor["rest"]
        if key == "<<":
            merged |= anchors[rest.removeprefix("*")]
            continue
        if key in own:
            raise Unreadable(f"line {number}: {key} stands there twice")
        if rest:
            own[key] = _value(rest, number)
        else:
            deeper = lines[-1][1] if lines else indent
            own[key] = _block(lines, anchors, indent=deeper) if deeper > indent else None
        if anchor is not None:
            anchors[anchor["name"]] = own[key]
    return merged | own


def _value(text: str, number: int) -> Any:
    """Return what stands behind a key, in its line."""
    if text[0] not in '[{"':
        return text
    tokens = _TOKEN.findall(text)
    if "".join(tokens).replace(" ", "") != text.replace(" ", ""):
        raise Unreadable(f"line {number}: {text}")
    tokens.reverse()
    value = _flow(tokens)
    if tokens:
        raise Unreadable(f"line {number}: more behind {value}")
    return value


def _flow(tokens: list[str]) -> Any:
    token = tokens.pop()
    if token == "[":
        items = []
        while tokens[-1] != "]":
            items.append(_flow(tokens))
            if tokens[-1] == ",":
                tokens.pop()
        tokens.pop()
        return items
    if token == "{":
        entries = {}
        while tokens[-1] != "}":
            key = tokens.pop().strip()
            if tokens.pop() != ":":
                raise Unreadable(f"{key} has no value")
            entries[key] = _flow(tokens)
            if tokens[-1] == ",":
                tokens.pop()
        tokens.pop()
        return entries
    return token[1:-1] if token.startswith('"') else token.strip()


def image_environment(dockerfile: str) -> dict[str, str]:
    """Return what the last stage of a Dockerfile sets with ENV."""
    last = dockerfile[dockerfile.rindex("\nFROM ") :].replace("\\\n", " ")
    found: dict[str, str] = {}
    for line in last.splitlines():
        if line.startswith("ENV "):
            found |= dict(pair.split("=", 1) for pair in line.removeprefix("ENV ").split())
    return found


def problems(document: Mapping[str, Any], image: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a file of services; `image`: the environment of their image."""
    every: Mapping[str, Any] = document["services"]
    services = {name: one for name, one in every.items() if "profiles" not in one}
    wrong = [f"{name}: {why}" for name in services for why in _service(document, name, image)]
    for name in every.keys() - services.keys():
        wrong += [f"{name}: {why}" for why in _on_demand(every[name], services, image)]
    built = [name for name, service in services.items() if "build" in service]
    if len(built) != 1:
        wrong.append(f"build: belongs to one service, not to {len(built)}")
    if len({service["image"] for service in every.values()}) != 1:
        wrong.append("all services run one image")
    published = Counter(at for one in services.values() for at, _ in _ports(one))
    wrong += [f"{at} is published twice" for at, count in published.items() if count > 1]
    mounted = Counter(at for one in services.values() for at in one["volumes"])
    wrong += [f"{volume} is mounted twice" for volume, count in mounted.items() if count > 1]
    seeds = {service["environment"]["TIDELOG_CLUSTER__SEEDS"] for service in services.values()}
    hosts = [seed.rpartition(":")[0] for seed in ",".join(sorted(seeds)).split(",")]
    if hosts != list(services):
        wrong.append(f"the seeds are {', '.join(hosts)}, the services {', '.join(services)}")
    return wrong


def _on_demand(
    extra: Mapping[str, Any], services: Mapping[str, Any], image: Mapping[str, str]
) -> Iterator[str]:
    """Yield what is wrong with a client that is started only on demand."""
    if "ports" in extra or "volumes" in extra or "build" in extra:
        yield "started on demand, it has neither ports nor volumes nor a build"
    port = image["TIDELOG_LISTENERS__GRPC__BIND"].rpartition(":")[2]
    told = extra["environment"]["TIDELOG_CLIENT__ADDRESS"].split(",")
    if told != [f"{name}:{port}" for name in services]:
        yield f"it knows {', '.join(told)}, and must know every node: any may be away"


def _service(document: Mapping[str, Any], name: str, image: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with one service."""
    service = document["services"][name]
    if service.get("healthcheck", {}).get("test") != CHECK:
        yield "its health is not checked with: tidelog check self"
    if service.get("hostname") != name:
        yield "its host name is not its service's: seeds and clients look for that"
    for volume in service["volumes"]:
        if volume.partition(":")[0] not in document["volumes"]:
            yield f"{volume} is no volume of the file"
        if volume.partition(":")[2] != image["TIDELOG_NODE__DATA_DIR"]:
            yield f"{volume} is not where the node keeps its records"
    for at, _ in _ports(service):
        if not at.startswith(f"{LOOPBACK}:"):
            yield f"{at} can be reached from other machines"
    yield from _node(name, service, image)


def _node(name: str, service: Mapping[str, Any], image: Mapping[str, str]) -> Iterator[str]:
    """Yield what a node would say to its settings, and what clients would."""
    given = service["environment"]
    for needed in ("TIDELOG_CLUSTER__SECRET", "TIDELOG_SECURITY__MODE", "TIDELOG_CLUSTER__ID"):
        if not given.get(needed):
            yield f"{needed} is not set where everybody sees it"
    ours = {key: value for key, value in image.items() if key.startswith("TIDELOG_")}
    try:
        settings = numbered(load(environment=ours | given), name).settings
        secret_of(settings)
        check_endpoints(settings)
    except ConfigRefused as refused:
        yield str(refused)
        return
    if (open_to := exposure(settings)) is not None:
        yield open_to.text
    if name != f"tidelog-{settings.node.id}":
        yield f"its node has the number {settings.node.id}"
    targets = {target: at for at, target in _ports(service)}
    told = {one.listener: f"{one.host}:{one.port}" for one in endpoints_of(settings, name)}
    inside = {door: port for door, (_, port) in settings.listeners().items()}
    for door in ("external", "grpc", "http"):
        if str(inside.get(door)) not in targets:
            yield f"nothing is published for its {door} listener"
    if told.get(EXTERNAL) != targets.get(str(inside.get(EXTERNAL))):
        yield f"Kafka clients outside are told {told.get(EXTERNAL)}, where nobody listens"
    if told["kafka"] != f"{name}:{inside['kafka']}":
        yield f"Kafka clients inside are told {told['kafka']}"


def _ports(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield where each port is published, and which port of the container it is."""
    for port in service["ports"]:
        at, _, target = port.rpartition(":")
        yield at, target

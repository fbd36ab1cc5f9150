"""compose.yaml, Dockerfile and .dockerignore fit each other and the program, without an engine."""

import re
import tomllib
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.cluster.compose_file import PATH, ROOT, Unreadable, image_environment, problems, read

DOCKERFILE = (ROOT / "Dockerfile").read_text()
IMAGE = image_environment(DOCKERFILE)
EXTERNAL = "TIDELOG_LISTENERS__EXTERNAL__ADVERTISE"


def test_nothing_is_wrong_with_it() -> None:
    document = read(PATH.read_text())
    assert list(document["services"]) == ["tidelog-1", "tidelog-2", "tidelog-3", "demo"]
    assert document["name"] == "tidelog"
    assert problems(document, IMAGE) == []


Change = Callable[[dict[str, Any], dict[str, Any]], object]
"""Spoils the second service, or all of them."""
FAULTS: dict[str, tuple[Change, str]] = {
    "no health check": (lambda _, one: one.pop("healthcheck"), "its health is not checked"),
    "another health check": (
        lambda _, one: one.update(healthcheck={"test": ["CMD", "true"]}),
        "its health is not checked",
    ),
    "built twice": (lambda _, one: one.update(build="."), "not to 2"),
    "two images": (lambda _, one: one.update(image="tidelog:other"), "one image"),
    "another host name": (lambda _, one: one.update(hostname="two"), "its host name"),
    "a port for everybody": (
        lambda _, one: one.update(ports=["29092:19092", *one["ports"][1:]]),
        "29092 can be reached from other machines",
    ),
    "a port twice": (
        lambda _, one: one.update(ports=[*one["ports"], "127.0.0.1:8080:8080"]),
        "127.0.0.1:8080 is published twice",
    ),
    "a port too few": (
        lambda _, one: one.update(ports=one["ports"][:1]),
        "nothing is published for its grpc listener",
    ),
    "a volume twice": (
        lambda all_, one: one.update(volumes=all_["tidelog-1"]["volumes"]),
        "tidelog-1:/var/lib/tidelog is mounted twice",
    ),
    "a volume that is none": (
        lambda _, one: one.update(volumes=["two:/var/lib/tidelog"]),
        "is no volume of the file",
    ),
    "records in the container": (
        lambda _, one: one.update(volumes=["tidelog-2:/data"]),
        "not where the node keeps its records",
    ),
    "a seed that is nobody": (
        lambda all_, _: [
            one["environment"].update(TIDELOG_CLUSTER__SEEDS="tidelog-1:9093,tidelog-4:9093")
            for name, one in all_.items()
            if name != "demo"
        ],
        "the seeds are tidelog-1, tidelog-4",
    ),
    "seeds of its own": (
        lambda _, one: one["environment"].update(TIDELOG_CLUSTER__SEEDS="tidelog-2:9093"),
        "the seeds are",
    ),
    "a port of the demo": (
        lambda all_, _: all_["demo"].update(ports=["127.0.0.1:1:1"]),
        "demo: started on demand, it has neither ports",
    ),
    "a demo of one node": (
        lambda all_, _: all_["demo"]["environment"].update(
            TIDELOG_CLIENT__ADDRESS="tidelog-1:9095"
        ),
        "demo: it knows tidelog-1:9095, and must know every node",
    ),
    "no secret": (
        lambda _, one: one["environment"].pop("TIDELOG_CLUSTER__SECRET"),
        "TIDELOG_CLUSTER__SECRET is not set",
    ),
    "no mode": (
        lambda _, one: one["environment"].pop("TIDELOG_SECURITY__MODE"),
        "other machines could connect",
    ),
    "an unknown setting": (
        lambda _, one: one["environment"].update(TIDELOG_CLUSTER__SEDS="x"),
        'did you mean "cluster.seeds"',
    ),
    "another node's address": (
        lambda all_, one: one["environment"].update(
            {EXTERNAL: all_["tidelog-1"]["environment"][EXTERNAL]}
        ),
        "are told 127.0.0.1:19092, where nobody listens",
    ),
    "a number of its own": (
        lambda _, one: one["environment"].update(TIDELOG_NODE__ID="1"),
        "its node has the number 1",
    ),
}


@pytest.mark.parametrize(("spoil", "told"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_found(spoil: Change, told: str) -> None:
    document = deepcopy(read(PATH.read_text()))
    spoil(document["services"], document["services"]["tidelog-2"])
    assert any(told in problem for problem in problems(document, IMAGE))


def test_the_reader_knows_what_the_file_keeps_to() -> None:
    text = '# a\na: &x\n  b: [c, "d#: e", {f: {}, g: "1"}] # h\n  i: j k:l\nm:\n  <<: *x\n  i: n\n'
    inner = {"b": ["c", "d#: e", {"f": {}, "g": "1"}], "i": "j k:l"}
    assert read(text) == {"a": inner, "m": {"b": inner["b"], "i": "n"}}


@pytest.mark.parametrize("text", ["- a\n", "a: 1\na: 2\n", "a:\n  b: 1\n c: 2\n", "a: [b] c\n"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text)


def test_the_image_is_of_this_release_and_runs_as_nobody() -> None:
    released = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert f'image.version="{released}"' in last
    assert "\nUSER 10001:10001\n" in last
    assert last.count("VOLUME") == 1
    assert f"\nVOLUME {IMAGE['TIDELOG_NODE__DATA_DIR']}\n" in last
    assert 'ENTRYPOINT ["tidelog"]\nCMD ["serve"]\n' in last
    bound = {value.rpartition(":")[2] for name, value in IMAGE.items() if name.endswith("__BIND")}
    exposed = re.search(r"\nEXPOSE ([\d ]+)\n", last)
    assert exposed is not None
    assert set(exposed[1].split()) == bound == {"9092", "9093", "9095", "8080"}


def test_the_image_is_made_from_all_that_the_wheel_needs() -> None:
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    needed |= set(project["tool"]["importlinter"]["root_packages"])
    needed |= {project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["path"]}
    copied = re.findall(r"requirements/\w+\.txt", DOCKERFILE)
    assert let_in == needed | set(copied)
    assert all((ROOT / path).exists() for path in let_in)
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()

"""Two listeners for Kafka clients: what each tells of where a node is, and what is refused."""

import pytest

from api.cli.dev import DevAudience
from api.cli.serve import ServeAudience
from api.config_file import ConfigRefused, load
from api.door import Address, DoorTaken
from api.kafka.door import Told
from api.node.endpoints import check_endpoints, doubtful, endpoints_of
from api.node.refusals import exposure, refusal_of
from api.node.system_host import looked_up
from api.settings import NodeSettings
from tidelog.cli.run import Run

SEEDS = ("cluster.seeds=log-1:9093,log-2:9093,log-3:9093", "cluster.id=orders")
LOCAL = ("cluster.seeds=127.0.0.1:9093,127.0.0.1:9193", "cluster.id=orders")
WIDE = "listeners.kafka.bind=0.0.0.0:9092"
OUTSIDE = ("listeners.external.bind=0.0.0.0:19092", "listeners.external.advertise=127.0.0.1:29092")


def given(*overrides: str) -> NodeSettings:
    return load(overrides=overrides).settings


def told(*overrides: str) -> dict[str, str]:
    ends = endpoints_of(given(*overrides), "log-2")
    return {end.listener: f"{end.host}:{end.port}" for end in ends}


def test_a_node_registers_what_each_listener_tells() -> None:
    assert told() == {
        "kafka": "127.0.0.1:9092",
        "grpc": "127.0.0.1:9095",
        "http": "127.0.0.1:8080",
    }
    both = told(WIDE, *OUTSIDE)
    assert (both["kafka"], both["external"]) == ("log-2:9092", "127.0.0.1:29092")
    named = told(WIDE, "listeners.kafka.advertise=inner:1", "listeners.external.bind=10.0.0.2:7")
    assert (named["kafka"], named["external"]) == ("inner:1", "10.0.0.2:7")


def test_a_listener_that_is_off_is_not_registered() -> None:
    assert "kafka" not in told("listeners.kafka.bind=none", "listeners.kafka.advertise=x:1")
    assert "external" not in told()
    assert "grpc" not in told("listeners.grpc.bind=127.0.0.1:0")  # not known yet


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["bind=0.0.0.0:19092"], "set advertise to the HOST:PORT"),
        (["bind=[::]:19092"], "set advertise to the HOST:PORT"),
        (["advertise=127.0.0.1:19092"], "nobody listens: set bind as well"),
        (["bind=x"], "is not HOST:PORT"),
        (["bind=127.0.0.1:1", "advertise=x"], "is not HOST:PORT"),
        (["bind=127.0.0.1:1", "advertise=[::]:1"], "nowhere that a client can connect to"),
        (["bind=127.0.0.1:1", "advertise=x:0"], "nowhere that a client can connect to"),
    ],
)
def test_the_external_listener_leaves_nothing_open(overrides: list[str], why: str) -> None:
    with pytest.raises(ConfigRefused, match=why):
        load(overrides=[f"listeners.external.{text}" for text in overrides])


@pytest.mark.parametrize("name", ["kafka", "external"])
def test_a_port_that_nobody_knows_yet_is_refused_in_a_cluster(name: str) -> None:
    free = f"listeners.{name}.bind=127.0.0.1:0"
    check_endpoints(given(free))
    check_endpoints(given(free, f"listeners.{name}.advertise=log-2:1", *SEEDS))
    with pytest.raises(ConfigRefused, match=f"listeners.{name}.bind = 127.0.0.1:0") as refused:
        check_endpoints(given(free, *SEEDS))
    assert f"listeners.{name}.advertise" in refused.value.hint


def test_strangers_must_be_let_in_on_either_listener() -> None:
    refused = exposure(given(*OUTSIDE))
    assert refused is not None
    assert "listeners.external.bind = 0.0.0.0:19092" in refused.text
    assert exposure(given(*OUTSIDE, "security.mode=open")) is None


@pytest.mark.parametrize(
    ("door", "in_dev"),
    [
        ("kafka", "--kafka-port 29092"),
        ("grpc", "--grpc-port 29092"),
        ("http", "--http-port 29092"),
        ("external", "-X listeners.external.bind=127.0.0.1:29092"),
    ],
)
def test_a_taken_port_is_told_with_the_option_of_the_command(door: str, in_dev: str) -> None:
    taken = DoorTaken(door, Address("127.0.0.1", 19_092), "in use")
    in_serve = f"-X listeners.{door}.bind=127.0.0.1:29092"
    dev, serve = DevAudience(Run(environment={}), load(), {}), ServeAudience({})
    for audience, option in ((dev, in_dev), (serve, in_serve)):
        refusal = refusal_of(taken, data_dir="d", option=audience.option)
        assert refusal is not None
        assert refusal.hint == f"stop the program that has the port, or take another: {option}"


def test_a_refused_address_is_told_as_a_setting_names_it() -> None:
    """`::1:29095` is one IPv6 address, and no setting takes it for a host and a port."""
    taken = DoorTaken("grpc", Address("::1", 19_095), "in use")
    refusal = refusal_of(taken, data_dir="d", option=ServeAudience({}).option)
    assert refusal is not None
    assert refusal.text == "grpc: cannot listen on [::1]:19095: in use"
    assert refusal.hint.endswith("take another: -X listeners.grpc.bind=[::1]:29095")
    assert given("listeners.grpc.bind=[::1]:29095").listeners()["grpc"] == ("::1", 29_095)
    wide = exposure(given("listeners.http.bind=[::]:8080"))
    assert wide is not None and wide.text.startswith("listeners.http.bind = [::]:8080: ")


@pytest.mark.parametrize(
    ("bound", "advertise", "clients_are_told"),
    [
        (("127.0.0.1", 7), None, ("127.0.0.1", 7)),
        (("0.0.0.0", 7), None, ("log-2", 7)),
        (("::", 7), None, ("log-2", 7)),
        (("0.0.0.0", 7), ("outside", 9), ("outside", 9)),
    ],
)
def test_clients_are_told_where_to_go(
    bound: tuple[str, int], advertise: tuple[str, int] | None, clients_are_told: tuple[str, int]
) -> None:
    said = Told("log-2", None if advertise is None else Address(*advertise))
    assert said.of(Address(*bound)) == clients_are_told


async def doubts(*overrides: str, nowhere: str = "") -> list[str]:
    async def look(name: str) -> str | None:
        return "no such name" if name == nowhere else None

    found = await doubtful(given(*overrides), "log-2", look)
    return [f"{doubt.setting} {doubt.address}: {doubt.why}" for doubt in found]


async def test_an_address_that_leads_nowhere_is_doubted() -> None:
    wide = (*SEEDS, WIDE, "listeners.peer.bind=0.0.0.0:9093")
    assert await doubts(*wide) == []
    assert await doubts(*wide, nowhere="log-2") == [
        "listeners.kafka.advertise log-2:9092: no such name",
        "listeners.peer.advertise log-2:9093: no such name",
    ]
    assert await doubts(WIDE, nowhere="log-2") == [
        "listeners.kafka.advertise log-2:9092: no such name"
    ]


async def test_loopback_is_doubted_only_where_nodes_are_elsewhere() -> None:
    loopback = await doubts(*SEEDS, "listeners.peer.bind=10.0.0.2:9093")
    assert [one.split(":")[0] for one in loopback] == ["listeners.kafka.advertise 127.0.0.1"]
    assert await doubts(*LOCAL) == []
    assert await doubts() == []


async def test_what_clients_outside_are_told_is_not_looked_at_from_inside() -> None:
    assert (
        await doubts(
            *SEEDS,
            WIDE,
            "listeners.peer.bind=10.0.0.2:9093",
            "listeners.external.bind=0.0.0.0:1",
            "listeners.external.advertise=outside:1",
            nowhere="outside",
        )
        == []
    )


async def test_names_are_really_looked_up() -> None:
    assert await looked_up("localhost") is None
    assert "leads nowhere" in (await looked_up("no-such-name.invalid") or "")
    assert "leads nowhere" in (await looked_up("x" * 64) or "")

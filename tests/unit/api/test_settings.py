"""The node's settings: sources in order, origins, refusals with suggestions, the reference file."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.addresses import is_every_address, is_loopback, split_address
from api.config_file import DECLARED, ConfigRefused, Given, load, of_override, rows_of
from api.node.refusals import exposure
from api.node.system_limits import grpc_connections_max
from api.settings import SECTIONS, NodeSettings
from api.settings_reference import reference_toml, settings_page
from cluster.controller.configs import SERVED

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "config.reference.toml"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "tidelog.toml"
    path.write_text(text)
    return str(path)


def test_each_source_wins_over_the_one_before(tmp_path: Path) -> None:
    file = written(tmp_path, '[node]\nid = 1\nrack = "file"\ndata_dir = "file"\n')
    environment = {"TIDELOG_NODE__RACK": "environment", "TIDELOG_NODE__DATA_DIR": "environment"}
    loaded = load(
        file=file,
        environment=environment,
        overrides=["node.data_dir=flag"],
        base=[Given("node", "event_loop", "asyncio", "tidelog dev")],
        options=[Given("log", "tail_bytes", "2MiB", "--tail")],
    )
    node = loaded.settings.node
    assert (node.id, node.rack, node.data_dir) == (1, "environment", "flag")
    assert loaded.settings.log.tail_bytes == 2 << 20
    origins = {row.setting: row.origin for row in rows_of(loaded)}
    assert origins["node.id"] == file
    assert origins["node.rack"] == "TIDELOG_NODE__RACK"
    assert origins["node.data_dir"] == "-X"
    assert origins["node.event_loop"] == "tidelog dev"
    assert origins["log.tail_bytes"] == "--tail"
    assert origins["log.journal_file_bytes"] == "default"


def test_nothing_given_is_the_defaults() -> None:
    assert load().settings == NodeSettings()


def test_units_and_plain_numbers(tmp_path: Path) -> None:
    file = written(tmp_path, '[log]\ncheckpoint_ms = "30s"\ncheckpoint_bytes = 1024\n')
    log = load(file=file).settings.log
    assert (log.checkpoint_ms, log.checkpoint_bytes) == (30_000, 1024)


def test_topic_defaults_by_kafkas_names_quoted_or_nested(tmp_path: Path) -> None:
    quoted = written(tmp_path, '[topic_defaults]\n"retention.ms" = 1000\n')
    assert load(file=quoted).settings.topic_defaults == {"retention.ms": "1000"}
    nested = written(tmp_path, "[topic_defaults]\nretention.ms = 1000\n")
    assert load(file=nested).settings.topic_defaults == {"retention.ms": "1000"}
    environment = {"TIDELOG_TOPIC_DEFAULTS__TIDELOG__FLUSH": "async"}
    assert load(environment=environment).settings.topic_defaults == {"tidelog.flush": "async"}
    flag = load(overrides=["topic_defaults.retention.ms=5"])
    assert flag.settings.topic_defaults == {"retention.ms": "5"}


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("node.dat_dir=x", 'did you mean "node.data_dir"'),
        ("nod.data_dir=x", 'did you mean "node.data_dir"'),
        ("data_dir=x", "is not SECTION.KEY=VALUE"),
        ("listeners.kafka.bnd=x:1", 'did you mean "listeners.kafka.bind"'),
        ("listeners.kafka.bind=x", "is not HOST:PORT"),
        ("listeners.kafka.bind=x:65536", "is not HOST:PORT"),
        ("listeners.kafka.bind=::1:9092", "is not HOST:PORT"),
        ("topic_defaults.retention.mss=5", 'did you mean "topic_defaults.retention.ms"'),
        ("topic_defaults.retention.ms=7d", "write 604800000"),
        ("topic_defaults.cleanup.policy=compact", "not served"),
        ("log.tail_bytes=1GB", "0..67108864 bytes"),
        ("node.id=-1", "outside 0..2147483647"),
        ("node.id=one", "0..2147483647 count"),
        ("security.mode=opne", "loopback, open"),
        ("node.data_dir", "is not SECTION.KEY=VALUE"),
        ("node.data_dir=", "outside 1..4096 characters"),
    ],
)
def test_what_is_refused_says_what_is_right(override: str, why: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        load(overrides=[override])
    assert why in str(refused.value)
    assert refused.value.hint


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, '[node]\nid = -1\n[lgo]\nx = 1\n[security]\nmode = "opne"\n')
    with pytest.raises(ConfigRefused) as refused:
        load(file=file)
    assert len(refused.value.problems) == 3
    assert all(problem.startswith(file) for problem in refused.value.problems)


def test_unknown_names_can_be_let_pass(tmp_path: Path) -> None:
    file = written(tmp_path, "[node]\nid = 3\nfuture = 1\n")
    loaded = load(file=file, allow_unknown=True)
    assert loaded.settings.node.id == 3
    assert loaded.warnings[0].startswith(f"{file}: there is no setting node.future")
    with pytest.raises(ConfigRefused):
        load(file=written(tmp_path, "[node]\nid = -1\nfuture = 1\n"), allow_unknown=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[node\n", "tidelog.toml"),
        ("[node]\nid = 1.5\n", "is a float"),
        ("[node]\nid = [1]\n", "is a list"),
        ("[node]\nid = 2026-01-01\n", "is a date"),
        ("x = 1\n", "there is no setting"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        load(file=written(tmp_path, text))
    assert why in str(refused.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigRefused, match=r"/nowhere/x\.toml: No such file"):
        load(file="/nowhere/x.toml")


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "rack"
    secret.write_text("r-7\n")
    assert load(environment={"TIDELOG_NODE__RACK_FILE": str(secret)}).settings.node.rack == "r-7"
    with pytest.raises(ConfigRefused, match="TIDELOG_NODE__RACK_FILE"):
        load(environment={"TIDELOG_NODE__RACK_FILE": "/nowhere"})


def test_the_environment_of_others_is_left_alone() -> None:
    environment = {
        "TIDELOG_CLIENT__ADDRESS": "x:1",
        "TIDELOG_VENV": "/v",
        "TIDELOG_OUTPUT": "json",
        "PATH": "/bin",
        "TIDELOG_LOG_LEVEL": "debug",
    }
    loaded = load(environment=environment)
    assert loaded.settings.logging.level.value == "debug"
    assert loaded.origins == {("logging", "level"): "TIDELOG_LOG_LEVEL"}


def test_the_reference_file_round_trips_to_the_defaults() -> None:
    assert load(file=str(REFERENCE)).settings == NodeSettings()
    document = tomllib.loads(REFERENCE.read_text())
    for section in SECTIONS:
        table = document
        for word in section.split("."):
            table = table[word]
        assert set(DECLARED[section]) <= set(table), section


def test_the_topic_settings_of_the_reference_file_parse_when_uncommented(tmp_path: Path) -> None:
    lines = REFERENCE.read_text().splitlines()
    below = lines[lines.index("[topic_defaults]") :]
    chosen = [line.removeprefix("# ") if line.startswith('# "') else line for line in below]
    loaded = load(file=written(tmp_path, "\n".join(chosen)))
    assert loaded.settings.topic_defaults.keys() == SERVED.keys()


def test_the_generated_texts_are_fresh() -> None:
    assert REFERENCE.read_text() == reference_toml()
    assert settings_page() in (ROOT / "docs/reference/settings.md").read_text()


def test_the_reference_says_how_many_connections_grpc_takes() -> None:
    """No setting bounds them: they follow what the system grants."""
    most, few = grpc_connections_max(1 << 40), grpc_connections_max(1_024)
    told = (
        "The listener for gRPC clients. Of the file descriptors that the node may open "
        f"(`ulimit -Hn`) it takes a sixteenth for connections, {most:,} at most: {few} of 1,024."
    )
    for text in (reference_toml(), settings_page()):
        assert told in " ".join(text.replace("#", "").split())


def test_every_field_of_the_tree_is_in_a_section() -> None:
    named = {field_name for field_name, _ in SECTIONS.values()} | {"topic_defaults"}
    assert {one.name for one in fields(NodeSettings)} == named


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("node-1", False), ("", False)],
)  # fmt: skip
def test_only_this_machine_is_loopback(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


def test_a_listener_beyond_loopback_is_refused_with_both_ways_out() -> None:
    open_wide = load(overrides=["listeners.grpc.bind=0.0.0.0:9095"]).settings
    told = exposure(open_wide)
    assert told is not None
    assert told.exit_code == 10
    assert "listeners.grpc.bind = 0.0.0.0:9095" in told.text
    assert "127.0.0.1" in told.hint
    assert "security.mode" in told.hint
    said = load(overrides=["listeners.grpc.bind=0.0.0.0:9095", "security.mode=open"]).settings
    assert exposure(said) is None
    assert exposure(NodeSettings()) is None


@given(st.text(max_size=40))
def test_an_address_is_one_or_is_refused(text: str) -> None:
    try:
        host, port = split_address(text)
    except ValueError:
        return
    assert 0 <= port <= 65_535
    assert split_address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") == (host, port)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["advertise=0.0.0.0:9092"], "nowhere that a client can connect to"),
        (["advertise=[::]:9092"], "nowhere that a client can connect to"),
        (["advertise=broker.example:0"], "nowhere that a client can connect to"),
    ],
)
def test_kafka_clients_are_told_no_address_that_is_none(given: list[str], why: str) -> None:
    with pytest.raises(ConfigRefused, match=why):
        load(file=None, environment={}, overrides=[f"listeners.kafka.{text}" for text in given])


def test_a_listener_on_every_address_may_advertise_one() -> None:
    overrides = ["listeners.kafka.bind=0.0.0.0:9092", "listeners.kafka.advertise=log-1:9092"]
    loaded = load(file=None, environment={}, overrides=overrides)
    assert loaded.settings.kafka_listener.advertise == "log-1:9092"
    assert is_every_address("::") and is_every_address("0.0.0.0")
    assert not is_every_address("log-1") and not is_every_address("127.0.0.1")


def test_only_who_wrote_a_name_that_nobody_knows_hears_of_allow_unknown() -> None:
    with pytest.raises(ConfigRefused) as value:
        load(overrides=["log.tail_bytes=2MB"])
    assert "--allow-unknown" not in value.value.hint
    with pytest.raises(ConfigRefused) as name:
        load(overrides=["log.tail_byte=2"])
    assert "--allow-unknown" in name.value.hint


def test_an_override_is_called_as_its_author_knows_it() -> None:
    with pytest.raises(ConfigRefused, match=r"^settings: there is no setting foo\.bar"):
        load(options=[of_override("foo.bar=1", "settings")])

"""What `tidelog local` keeps: written whole, read strictly, and nothing else is ever deleted."""

import stat
from pathlib import Path

import pytest

from api.cli.local_ports import fixed
from api.cli.local_process import Process, Watched
from api.cli.local_state import LOG_BYTES_MAX, VERSION, Home, LocalCluster, LocalNode
from tidelog.cli.failure import CommandFailed, Exit

RAN = Watched(Process(7, "boot/1"), Process(6, "boot/1"))
CLUSTER = LocalCluster(
    "demo",
    (LocalNode(1, fixed(1), RAN), LocalNode(2, fixed(2)), LocalNode(3, fixed(3))),
    founders=2,
    overrides=("topics.auto_create=true",),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(str(tmp_path / "local"))
    with made.locked():
        made.make_secret()
        made.write(CLUSTER)
    return made


def test_what_is_written_is_read_again(home: Home) -> None:
    assert home.read() == CLUSTER
    assert home.expect() == CLUSTER


def test_seeds_are_those_who_founded_the_cluster() -> None:
    assert CLUSTER.seeds == "127.0.0.1:19093,127.0.0.1:29093"


def test_nobody_else_can_read_the_secret_and_it_stays_the_same(home: Home) -> None:
    assert stat.S_IMODE(home.secret.stat().st_mode) == 0o600
    text = home.secret.read_text()
    home.make_secret()
    assert home.secret.read_text() == text
    assert len(bytes.fromhex(text)) == 32
    assert text not in (home.path / "local.json").read_text()


def test_where_there_is_none_the_hint_says_how_to_make_one(tmp_path: Path) -> None:
    nothing = Home(str(tmp_path / "nothing"))
    assert nothing.read() is None
    with pytest.raises(CommandFailed, match="there is no local cluster") as refused:
        nothing.expect()
    assert "tidelog local start" in str(refused.value.hint)
    assert not nothing.path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"cluster_id": 1}', b"\xff"])
def test_a_damaged_file_is_told_by_its_name(home: Home, content: bytes) -> None:
    (home.path / "local.json").write_bytes(content)
    with pytest.raises(CommandFailed, match=r"local\.json: "):
        home.read()


def test_a_newer_format_is_refused(home: Home) -> None:
    file = home.path / "local.json"
    newer = file.read_text().replace(f'"version": {VERSION}', f'"version": {VERSION + 1}')
    file.write_text(newer)
    with pytest.raises(CommandFailed) as refused:
        home.read()
    assert refused.value.exit_code == Exit.NEWER_FORMAT


def test_a_directory_can_be_copied_from_a_hint() -> None:
    assert Home("./plain").option == "--data ./plain"
    assert Home("my dir").option == "--data 'my dir'"


def test_two_commands_do_not_work_at_once(home: Home) -> None:
    with home.locked(), pytest.raises(CommandFailed, match="at work") as refused, home.locked():
        pass
    assert refused.value.exit_code == Exit.NOT_NOW
    with home.locked():
        pass


def test_a_long_log_is_put_aside_once(home: Home) -> None:
    log = home.log(1)
    assert home.turn_log(1) == 0
    log.write_bytes(b"x" * LOG_BYTES_MAX)
    assert home.turn_log(1) == LOG_BYTES_MAX
    log.write_bytes(b"y" * (LOG_BYTES_MAX + 1))
    assert home.turn_log(1) == 0
    assert not log.exists()
    assert home.path.joinpath("node-1.log.1").read_bytes()[:1] == b"y"


@pytest.mark.parametrize(("text", "code"), [("0\n", 0), ("137\n", 137), ("", None), ("?", None)])
def test_how_a_node_ended_is_a_number_or_unknown(home: Home, text: str, code: int | None) -> None:
    assert home.exit_code(1) is None
    home.exit_file(1).write_text(text)
    assert home.exit_code(1) == code


def test_a_purge_leaves_what_is_not_ours(home: Home) -> None:
    for number in (1, 2, 3):
        home.data(number).mkdir()
        home.data(number).joinpath("identity").write_text("x")
    strange = home.path / "node-17"
    strange.mkdir()
    home.log(1).write_text("x")
    home.wipe([2])
    assert [home.data(number).exists() for number in (1, 2, 3)] == [True, False, True]
    home.purge(CLUSTER)
    assert [one.name for one in home.path.iterdir()] == ["node-17"]
    strange.rmdir()
    with home.locked():
        home.write(CLUSTER)
    home.purge(CLUSTER)
    assert not home.path.exists()

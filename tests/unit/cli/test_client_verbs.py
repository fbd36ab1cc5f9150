"""The small client verbs: errors, version, config, completion, check, doctor."""

import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.errors import ErrorCode
from tidelog.cli.client_settings import addresses, client_settings
from tidelog.cli.failure import Usage
from tidelog.cli.program import main
from tidelog.cli.reasons import failed, reasons
from tidelog.cli.run import Run
from tidelog.errors import CONNECTION_LOST, LOG_DIVERGED, LOG_GAP, UNREACHABLE


def run(*words: str, **environment: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(words, Run(environment=environment, stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


@contextmanager
def answering(status: str, body: str) -> Iterator[str]:
    """Serve one HTTP answer on a port; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(65_536)
                text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                client.sendall(text.encode())

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_the_clients_table_has_every_reason_of_the_node() -> None:
    assert list(reasons()) == [code.name for code in ErrorCode]
    for code in ErrorCode:
        row = reasons()[code.name]
        assert (row.meaning, row.hint, row.outcome) == (
            code.meaning, code.hint, code.outcome.name,
        )  # fmt: skip


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.name)
def test_every_reason_is_told_with_a_hint_and_its_exit_code(code: ErrorCode) -> None:
    told = failed(code.name, "text")
    assert told.hint
    assert told.exit_code == reasons()[code.name].exit_code
    assert run("errors", code.name)[1].startswith(f"{code.name}\n{code.meaning}\n")


@pytest.mark.parametrize("own", [UNREACHABLE, CONNECTION_LOST, LOG_GAP, LOG_DIVERGED])
def test_the_clients_own_reasons_are_explained_too(own: str) -> None:
    assert failed(own, "text").hint
    code, out, _ = run("errors", own.lower())
    assert (code, out.startswith(f"{own}\n")) == (0, True)
    assert own not in reasons(), "no node answers with it"
    assert own in run("errors")[1]


def test_a_reason_of_a_newer_node_is_still_told() -> None:
    assert failed("BRAND_NEW", "text").exit_code == 1
    assert failed("BRAND_NEW", "text", outcome="UNKNOWN").exit_code == 3


def test_a_wrong_reason_is_told_with_the_nearest() -> None:
    code, _, err = run("errors", "disk-ful")
    assert (code, "did you mean DISK_FULL" in err) == (1, True)


def test_settings_take_precedence_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "tidelog"
    folder.mkdir()
    (folder / "config.toml").write_text('[client]\naddress = "f:1"\ntimeout_ms = 5\n')
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "TIDELOG_CLIENT__ADDRESS": "e:2"}
    settings = client_settings(["client.address=x:3"], environment)
    assert settings["address"] == ("x:3", "-X")
    assert client_settings([], environment)["address"] == ("e:2", "TIDELOG_CLIENT__ADDRESS")
    assert settings["timeout_ms"] == ("5", str(folder / "config.toml"))
    assert settings["http_address"].origin == "default"


@pytest.mark.parametrize(
    ("override", "why", "hint"),
    [
        ("client.adress=x:1", "no setting client.adress", "client.address"),
        ("cleint.address=x:1", "no section [cleint]", "client.KEY=VALUE"),
        ("address", "not SECTION.KEY=VALUE", "client.address"),
        ("client.address=x", 'is "x"', "HOST:PORT"),
        ("client.address=x:70000", "70000", "HOST:PORT"),
        ("client.address=x:1,y", '"y"', "HOST:PORT"),
        ("client.address=x:1,", 'is ""', "HOST:PORT"),
        ("client.http_address=x:1,y:2", 'is "x:1,y:2"', "HOST:PORT"),
        ("client.timeout_ms=0", 'is "0"', "milliseconds"),
    ],
)
def test_settings_that_make_no_sense(override: str, why: str, hint: str) -> None:
    with pytest.raises(Usage) as refused:
        client_settings([override], {"HOME": "/nowhere"})
    assert why in refused.value.text
    assert hint in str(refused.value.hint)


def test_several_nodes_may_be_named(tmp_path: Path) -> None:
    settings = client_settings(
        ["client.address=tidelog://x:1, [::1]:2"], {"XDG_CONFIG_HOME": str(tmp_path)}
    )
    assert addresses(settings["address"].text) == ("x:1", "[::1]:2")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "tidelog"
    folder.mkdir()
    (folder / "config.toml").write_text("[client\n")
    with pytest.raises(Usage, match=r"config\.toml"):
        client_settings([], {"XDG_CONFIG_HOME": str(tmp_path)})


def test_config_shows_where_values_come_from() -> None:
    home = {"HOME": "/nowhere", "TIDELOG_LOG__TAIL_BYTES": "2MiB"}
    code, out, _ = run("config", "show", "--origin", "-X", "client.timeout_ms=7", **home)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["client.timeout_ms", "7", "-X"] in rows
    assert ["log.tail_bytes", "2MiB", "TIDELOG_LOG__TAIL_BYTES"] in rows
    assert not any(row[0] == "node.id" for row in rows)
    every = json.loads(run("config", "show", "-F", "json", **home)[1])["items"]
    assert {"setting": "node.id", "value": "0", "origin": "default"}.items() <= next(
        row for row in every if row["setting"] == "node.id"
    ).items()
    assert run("config", "show", "-X", "log.tail_byte=1", **home)[0] == 10


def test_check_self_has_the_exit_codes_of_nagios() -> None:
    for status, body, code, word in (
        ("200 OK", "ok\n", 0, "OK: ready"),
        ("503 Service Unavailable", "listeners: not yet\n", 2, "CRITICAL: listeners: not yet"),
        ("404 Not Found", "", 3, "UNKNOWN"),
    ):
        with answering(status, body) as address:
            got, out, _ = run("check", "self", "-X", f"client.http_address={address}")
        assert (got, word in out) == (code, True), status


def test_check_self_of_nobody_is_critical() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    code, out, err = run("check", "self", "-X", f"client.http_address={address}")
    assert code == 2
    assert f"CRITICAL: {address}: Connection refused" in out
    assert "hint: is a node running?" in err


def test_doctor_prints_versions_and_what_is_reachable() -> None:
    with answering("200 OK", "[+] recovery: done\n") as address:
        code, out, _ = run(
            "doctor", "-F", "json",
            "-X", f"client.http_address={address}",
            "-X", "client.address=127.0.0.1:1",
            "-X", "client.kafka_address=127.0.0.1:1",
        )  # fmt: skip
    rows = {row["what"]: row for row in json.loads(out)["items"]}
    assert code == 0
    assert rows["HTTP"]["state"] == "ok"
    assert rows["gRPC"]["state"] == "failed"
    assert rows["click"]["state"] == "ok"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    code, out, _ = run("completion", shell)
    assert (code, "_TIDELOG_COMPLETE" in out) == (0, True)


def test_version_in_both_forms() -> None:
    assert run("version")[1].startswith("tidelog ")
    assert json.loads(run("version", "-F", "json")[1])["items"][0]["python"]
    assert run("--version")[1].startswith("tidelog ")

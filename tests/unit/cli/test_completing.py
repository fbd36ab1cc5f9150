"""Completion: what comes next, quickly, and never an error on the screen of whoever is typing."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from tidelog import testing
from tidelog.cli import completing
from tidelog.cli.run import Run
from tidelog.cli.tree import root
from tidelog.types import Cursor

ROOT = Path(__file__).parents[3]
BUILT_TO_ASK = {"consume", "tail", "produce", "get"}


def press_tab(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as bash does when TAB is pressed behind the last word."""
    line = " ".join(("tidelog", *words))
    return subprocess.run(
        [sys.executable, "-m", "tidelog"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={
            **os.environ, "_TIDELOG_COMPLETE": "bash_complete", "COMP_WORDS": line,
            "COMP_CWORD": str(len(words)), "TIDELOG_CLIENT__ADDRESS": "127.0.0.1:1", **environment,
        },
    )  # fmt: skip


def candidates(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return [line.removeprefix("plain,") for line in done.stdout.split()]


def test_words_of_the_tree() -> None:
    assert candidates(press_tab("to")) == ["topic"]
    assert candidates(press_tab("topic", "de")) == ["delete", "describe"]
    assert candidates(press_tab("consume", "orders", "--fo")) == ["--follow", "--format"]
    assert candidates(press_tab("consume", "orders", "--clock", "a")) == ["append"]
    assert candidates(press_tab("errors", "disk_f")) == ["DISK_FULL"]


def test_the_words_of_the_tree_are_found_without_importing_the_commands() -> None:
    code = (
        "import sys, click\nfrom tidelog.cli.tree import root\n"
        "root.shell_complete(click.Context(root), 'to')\n"
        "print({'api', 'grpc', 'tidelog.cli.topic', 'tidelog.cli.consume'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense", ""),
        ("topic", "nonsense", ""),
        ("consume", ""),
        ("consume", "-X", "nonsense", ""),
        ("consume", "-X", "client.adress=1", ""),
        ("topic", "create", "-p", "x", ""),
        ("consume", "--nope", ""),
    ],
)
def test_nothing_is_ever_said_of_what_fails(words: tuple[str, ...]) -> None:
    assert candidates(press_tab(*words)) == []


def test_a_broken_configuration_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "tidelog").mkdir()
    (tmp_path / "tidelog/config.toml").write_text("[client\n")
    assert candidates(press_tab("consume", "", XDG_CONFIG_HOME=str(tmp_path))) == []


def test_a_node_that_says_nothing_is_not_waited_for() -> None:
    """The listener takes the connection and never answers; without a bound this would not end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        assert candidates(press_tab("consume", "", TIDELOG_CLIENT__ADDRESS=address)) == []


def test_whoever_does_not_answer_in_time_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completing, "WAIT_S", 0.01)
    monkeypatch.setattr(completing, "_left_behind", [])
    go_on = threading.Event()

    def slow() -> list[str]:
        go_on.wait()
        return ["late"]

    try:
        assert completing.in_time(slow) == []
        assert len(completing._left_behind) == 1
    finally:
        go_on.set()
    completing._left_behind[0].join()


def test_every_argument_that_is_a_topic_asks_for_topics() -> None:
    """`topic create` takes a name that is not there yet: nothing to offer."""
    context = click.Context(root)
    topic = root.get_command(context, "topic")
    assert isinstance(topic, click.Group)
    verbs = {word: root.get_command(context, word) for word in BUILT_TO_ASK} | {
        word: topic.get_command(context, word)
        for word in topic.list_commands(context)
        if word not in {"create", "list"}
    }
    for word, verb in verbs.items():
        assert verb is not None, word
        first = next(one for one in verb.params if isinstance(one, click.Argument))
        assert first._custom_shell_complete is completing.topic_names, word


def test_every_argument_that_is_a_group_asks_for_groups() -> None:
    context = click.Context(root)
    group = root.get_command(context, "group")
    assert isinstance(group, click.Group)
    for word in group.list_commands(context):
        verb = group.get_command(context, word)
        assert verb is not None, word
        for one in verb.params:
            if isinstance(one, click.Argument):
                asks = completing.topic_names if "TOPIC" in (one.metavar or "") else None
                assert one._custom_shell_complete is (asks or completing.group_names), word


def test_the_node_says_which_topics_and_groups_begin_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completing, "WAIT_S", 60.0)  # that it is short has a test of its own
    with testing.sync_broker(ports=True) as running:
        client = running.client
        client.topics.create("orders", partitions=1)
        client.topics.create("other", partitions=1)
        for group in ("billing", "audit", "bills"):
            client.groups.commit(group, Cursor("orders", 0, 0))
        address = running.url.removeprefix("tidelog://")
        run = Run(environment={"TIDELOG_CLIENT__ADDRESS": address})
        context = click.Context(root, obj=run)
        nothing = click.Argument(["name"])
        assert completing.topic_names(context, nothing, "or") == ["orders"]
        assert completing.group_names(context, nothing, "bil") == ["billing", "bills"]
        assert completing.group_names(context, nothing, "") == ["audit", "billing", "bills"]
        assert completing.group_names(context, nothing, "x") == []


def test_a_person_is_answered_as_ever() -> None:
    assert not completing.asked(Run(environment={}))
    assert completing.asked(Run(environment={"_TIDELOG_COMPLETE": "zsh_complete"}))

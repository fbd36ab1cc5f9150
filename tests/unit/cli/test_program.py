"""The command line as a whole: streams, formats, exit codes, errors with what to do, speed."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tidelog.cli import tree
from tidelog.cli.failure import CommandFailed, Exit, Usage
from tidelog.cli.output import Column, Kind
from tidelog.cli.program import main
from tidelog.cli.run import Run
from tidelog.cli.verb import GlobalOption, NotBuilt, Noun, Verb, changing

ROOT = Path(__file__).parents[3]


class ToldError(Exception):
    """An error with the shape of the SDK's."""

    reason = "UNKNOWN_TOPIC"
    outcome = "not done"

    def __init__(self, **metadata: str) -> None:
        super().__init__('topic "ordrs" does not exist')
        self.metadata = metadata


def run(*words: str, **environment: str) -> tuple[int, str, str]:
    """Run one command in this process; return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = main(words, Run(environment=environment, stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Put a command `version` into the tree that does what a test tells it to."""
    told: dict[str, object] = {}
    columns = (Column("name"), Column("size_bytes", Kind.BYTES, "SIZE"), Column("more", wide=True))

    @click.command(cls=Verb, name="version", columns=columns, examples=("tidelog version",))
    @click.pass_obj
    def version(run: Run) -> int:
        """Do what the test says."""
        error = told.get("raises")
        if isinstance(error, BaseException):
            raise error
        items = [{"name": "a\x1b[31m", "size_bytes": 2048, "more": None}]
        failures = told.get("failures", ())
        assert isinstance(failures, tuple)
        return run.items(columns, items, failures)

    monkeypatch.setattr("tidelog.cli.version.version", version)
    return told


def test_a_table_has_one_header_and_humane_sizes(probe: dict[str, object]) -> None:
    code, out, err = run("version")
    assert (code, err) == (0, "")
    assert out == "NAME         SIZE\na\\x1b[31m  2.0KiB\n"
    assert run("version", "--raw", "--no-header")[1] == "a\\x1b[31m  2048\n"
    assert run("version", "-F", "wide")[1].splitlines()[0] == "NAME         SIZE  MORE"
    assert run("version", "-F", "wide")[1].splitlines()[1].endswith("-")


def test_json_is_one_envelope_before_or_after_the_verb(probe: dict[str, object]) -> None:
    expected = {
        "_command": "version",
        "_version": 1,
        "items": [{"name": "a\x1b[31m", "size_bytes": 2048, "more": None}],
        "errors": [],
    }
    for words in (("-F", "json", "version"), ("version", "--format", "json")):
        assert json.loads(run(*words)[1]) == expected
    assert json.loads(run("version", TIDELOG_OUTPUT="json")[1]) == expected
    assert json.loads(run("version", "-F", "jsonl")[1]) == expected["items"][0]  # type: ignore[index]


def test_a_format_of_the_environment_that_is_none_is_refused(probe: dict[str, object]) -> None:
    code, out, err = run("version", TIDELOG_OUTPUT="xml")
    assert (code, out) == (2, "")
    assert err.startswith("error: TIDELOG_OUTPUT='xml' is not one of 'text', 'wide', 'json'")
    assert "hint: unset TIDELOG_OUTPUT" in err
    assert run("-F", "xml", "version")[0] == 2
    assert run("version", "-F", "text", TIDELOG_OUTPUT="xml")[0] == 0
    assert run("version", TIDELOG_OUTPUT="") == run("version")


def test_one_failure_of_many_is_exit_1_and_in_both_streams(probe: dict[str, object]) -> None:
    probe["failures"] = (CommandFailed("b is gone", hint="look for it", reason="UNKNOWN_TOPIC"),)
    code, out, err = run("version", "-F", "json")
    document = json.loads(out)
    assert code == 1
    assert len(document["items"]) == 1
    assert document["errors"][0]["reason"] == "UNKNOWN_TOPIC"
    assert err == "error: b is gone (UNKNOWN_TOPIC)\nhint: look for it\n"


def test_total_failure_is_valid_json_too(probe: dict[str, object]) -> None:
    probe["raises"] = CommandFailed("no", exit_code=3)
    code, out, err = run("version", "-F", "json")
    assert (code, json.loads(out)["items"], err) == (3, [], "error: no\n")
    code, out, err = run("version", "-F", "jsonl")
    assert (code, out) == (3, "")


def test_the_schema_of_the_output_names_every_field(probe: dict[str, object]) -> None:
    schema = json.loads(run("version", "-F", "help")[1])
    item = schema["properties"]["items"]["items"]["properties"]
    assert {name: field["type"][0] for name, field in item.items()} == {
        "name": "string",
        "size_bytes": "integer",
        "more": "string",
    }


def verbs(group: click.Group, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group, info_name="tidelog")
    found: list[tuple[str, ...]] = []
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if isinstance(command, click.Group):
            found += verbs(command, (*words, word))
        elif isinstance(command, Verb):
            found.append((*words, word))
    return found


@pytest.mark.parametrize("words", verbs(tree.root), ids=" ".join)
def test_every_schema_is_printed_without_arguments(words: tuple[str, ...]) -> None:
    code, out, err = run(*words, "-F", "help")
    assert (code, err) == (0, "")
    assert json.loads(out)["title"] == f"tidelog {' '.join(words)}"
    assert json.loads(out)["properties"]
    assert run("-F", "help", *words) == run(*words, TIDELOG_OUTPUT="help") == (0, out, "")


def test_what_is_missing_is_missed_where_no_schema_is_asked_for() -> None:
    code, out, err = run("consume", "-F", "jsonl")
    assert (code, out) == (2, "")
    assert err == "error: TOPIC is missing\nhint: see: tidelog consume --help\n"


@pytest.mark.parametrize("words", [("consume",), ("tail",), ("dump", "segment"), ("dump", "index")])
def test_the_schema_of_lines_has_no_envelope(words: tuple[str, ...]) -> None:
    schema = json.loads(run(*words, "-F", "help")[1])
    assert "items" not in schema["properties"]
    assert "offset" in schema["properties"]
    assert "no envelope" in schema["description"]


def test_a_nodes_error_is_told_with_the_hint_of_its_reason(probe: dict[str, object]) -> None:
    probe["raises"] = ToldError(topic="ordrs", did_you_mean="orders")
    assert run("version") == (
        1,
        "",
        'error: topic "ordrs" does not exist (UNKNOWN_TOPIC)\n'
        'hint: did you mean "orders"? create it with: tidelog topic create ordrs\n',
    )


def test_an_unknown_outcome_is_exit_3_whatever_the_reason(probe: dict[str, object]) -> None:
    unknown = ToldError(topic="t")
    unknown.outcome = "UNKNOWN"
    probe["raises"] = unknown
    assert run("version")[0] == Exit.NOT_NOW


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
        (FileNotFoundError(2, "no", "x.json"), 1, "x.json: No such file"),
        (OSError(28, "no", "f"), 3, "f: No space left"),
        (ZeroDivisionError("secret"), 3, "this is a bug in Tidelog"),
        (click.UsageError("Bad thing."), 2, "error: bad thing\n"),
    ],
)
def test_no_error_ends_in_a_traceback(
    probe: dict[str, object], error: BaseException, *, code: int, says: str
) -> None:
    probe["raises"] = error
    got, out, err = run("version")
    assert (got, out) == (code, "")
    assert says in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(probe: dict[str, object]) -> None:
    probe["raises"] = ZeroDivisionError("x")
    assert "ZeroDivisionError" in run("version", "--debug")[2]
    assert "Traceback" in run("--debug", "version")[2]


def test_misuse_is_one_line_and_where_to_look() -> None:
    code, out, err = run("errors", "--nope")
    assert (code, out) == (2, "")
    assert err.startswith("error: no such option")
    assert "hint: see: tidelog errors --help" in err
    code, _, err = run("tpoic")
    assert (code, "did you mean: tidelog topic" in err) == (2, True)


@pytest.mark.parametrize("word", tree.COMING)
def test_what_is_not_built_says_so(word: str) -> None:
    code, out, err = run(word, "list", "--whatever", "-n", "3")
    assert (code, out) == (2, "")
    assert f"tidelog {word} is not built yet (NOT_IMPLEMENTED)" in err


def test_a_verb_of_a_group_that_is_not_built_says_so() -> None:
    code, _, err = run("check", "disk")
    assert (code, "tidelog check disk is not built yet (NOT_IMPLEMENTED)" in err) == (2, True)


def test_colour_only_where_it_is_wanted(probe: dict[str, object]) -> None:
    assert "\x1b[1m" in run("version", "--color", "always")[1]
    assert "\x1b[1m" not in run("version")[1]
    assert "\x1b[1m" not in run("version", "--color", "never")[1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_is_coloured_unless_somebody_minds(
    probe: dict[str, object], environment: dict[str, str], colored: bool
) -> None:
    out = Terminal()
    main(["version"], Run(environment=environment, stdout=out, stderr=io.StringIO()))
    assert ("\x1b[1m" in out.getvalue()) is colored


def test_danger_without_a_terminal_needs_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    here = Run(environment={}, stdout=io.StringIO(), stderr=err)
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    with pytest.raises(Usage, match="no terminal"):
        here.confirm("delete orders: 3 partitions", yes=False)
    here.confirm("delete orders: 3 partitions", yes=True)
    assert err.getvalue().count("delete orders") == 2
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    with pytest.raises(CommandFailed, match="nothing was changed"):
        here.confirm("plan", yes=False)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    here.confirm("plan", yes=False)


def commands(group: click.Group, context: click.Context) -> list[click.Command]:
    found: list[click.Command] = []
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None, word
        found.append(command)
        if isinstance(command, click.Group):
            found += commands(command, click.Context(command, parent=context, info_name=word))
    return found


def every_command() -> list[click.Command]:
    return commands(tree.root, click.Context(tree.root, info_name="tidelog"))


@pytest.mark.parametrize("command", every_command(), ids=lambda command: str(command.name))
def test_every_command_has_help_examples_and_global_options(command: click.Command) -> None:
    assert isinstance(command, Verb | Noun)
    assert command.help
    assert command.examples
    assert all(example.split()[0] in {"tidelog", "eval", "echo"} or "tidelog" in example
               for example in command.examples)  # fmt: skip
    assert any(isinstance(parameter, GlobalOption) for parameter in command.params)


@pytest.mark.parametrize("command", every_command(), ids=lambda command: str(command.name))
def test_every_client_command_that_changes_something_can_be_tried(command: click.Command) -> None:
    if not isinstance(command, Verb) or command.name in tree.SERVER:
        return
    if command.impact == "rw" and not command.ro_without:
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert {"--dry-run", "--yes"} <= flags


def test_changing_adds_both_flags() -> None:
    @click.command(cls=Verb, impact="rw", examples=("tidelog x",))
    @changing("what would go")
    def verb(dry_run: bool, yes: bool) -> None:
        """Change."""

    assert {"--dry-run", "-y", "--yes"} <= {flag for one in verb.params for flag in one.opts}


def test_help_json_holds_every_command_and_parses() -> None:
    code, out, _ = run("--help-json")
    assert code == 0
    named = {command["name"] for command in json.loads(out)["commands"]}
    assert {*tree.SERVER, "errors", "config", "check", "doctor"} <= named
    leaves = [one for one in json.loads(out)["commands"] if "commands" not in one]
    assert all(one["impact"] in {"ro", "rw"} for one in leaves)


def test_consume_is_declared_to_change_something_with_a_group_alone() -> None:
    leaves = {one["name"]: one for one in json.loads(run("--help-json")[1])["commands"]}
    consume = leaves["consume"]
    assert (consume["impact"], consume["ro_without"]) == ("rw", ["--group"])
    assert any("--group" in parameter["flags"] for parameter in consume["parameters"])
    assert (leaves["tail"]["impact"], "ro_without" in leaves["tail"]) == ("ro", False)


def test_help_ends_with_examples() -> None:
    out = run("errors", "--help")[1] or subprocess.run(
        [sys.executable, "-m", "tidelog", "errors", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert out.index("GLOBAL OPTIONS") < out.index("EXAMPLES")
    assert out.rstrip().endswith("tidelog errors NOT_LEADER -F json")


def test_a_verb_whose_module_is_missing_is_left_out_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(tree.CLIENT, "topic", tree.Entry("tidelog.cli.nowhere", "Topics."))
    context = click.Context(tree.root)
    assert "topic" not in tree.root.list_commands(context)
    assert isinstance(tree.root.get_command(context, "topic"), NotBuilt)
    assert run("topic", "list")[0] == 2


def python(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip


def test_importing_the_sdk_loads_neither_click_nor_rich() -> None:
    done = python("import sys, tidelog; print({'click', 'rich', 'api'} & set(sys.modules))")
    assert done.stdout.strip() == "set()"


def test_help_loads_no_server_no_grpc_and_no_rich() -> None:
    code = (
        "import sys\nfrom tidelog._launcher import main\nmain(['--help'])\n"
        "print({'grpc', 'rich', 'api', 'structlog', 'google.protobuf'} & set(sys.modules),"
        " file=sys.stderr)"
    )
    assert python(code).stderr.strip() == "set()"


@pytest.mark.parametrize("word", ["dev", "serve", "verify", "dump"])
def test_without_assertions_no_node_runs(word: str) -> None:
    done = python(f"from tidelog._launcher import main; raise SystemExit(main(['{word}']))", "-O")
    assert done.returncode == Exit.CONFIGURATION
    assert done.stderr.splitlines() == [
        "error: assertions are off, and the safety of the log rests on them: "
        "drop -O, PYTHONOPTIMIZE",
    ]


@pytest.mark.parametrize("word", ["dev", "serve", "verify", "dump"])
def test_the_client_alone_says_what_to_install(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidelog._launcher._ONLY_IN_SERVER", "there_is_no_such_module")
    code, out, err = run(word)
    assert (code, out) == (2, "")
    assert "hint: pip install 'tidelog[server]'" in err


def test_a_closed_pipe_is_quiet() -> None:
    done = subprocess.run(
        f"{sys.executable} -m tidelog errors -F json | head -c 1",
        shell=True, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "{", "")

"""`tidelog dev`: a node for development, ready in a second, reachable from this machine only."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from api.cli.banner import banner
from api.cli.starting import (
    SeedTopic,
    check_signals,
    configuration_failed,
    create_seeds,
    run,
    seed_topics,
    tell_ready,
)
from api.config_file import ConfigRefused, Given, Loaded, load
from api.door import Address
from api.node.assemble import Node
from api.node.refusals import override
from api.node.system_limits import process_age_ms
from tidelog._launcher import release
from tidelog.cli.failure import Usage
from tidelog.cli.run import Run
from tidelog.cli.verb import Verb

DATA_DIR: Final = "./.tidelog"
MEMORY_DIR: Final = "/dev/shm"  # noqa: S108 - a file system in memory, on every Linux
MEMORY_FREE_BYTES_MIN: Final = 512 << 20
"""With less in it (a container has 64 MiB) what is "in memory" goes to a temporary directory."""
MEMORY_JOURNAL_FILE_BYTES: Final = 8 << 20
"""Each byte of a journal is a byte of memory here."""
ORIGIN: Final = "tidelog dev"
DEFAULTS: Final = (
    Given("node", "data_dir", DATA_DIR, ORIGIN),
    Given("topics", "auto_create", "true", ORIGIN),
    Given("listeners.grpc", "reflection", "true", ORIGIN),
    Given("logging", "level", "warning", ORIGIN),
)
IN_MEMORY: Final = (
    *DEFAULTS,
    Given("log", "journal_file_bytes", str(MEMORY_JOURNAL_FILE_BYTES), ORIGIN),
    Given("log", "reserve_bytes", str(MEMORY_JOURNAL_FILE_BYTES), ORIGIN),
)
PORT_FLAGS: Final = {door: f"--{door}-port" for door in ("kafka", "grpc", "http")}
"""By the listener whose port they set."""
DEMO: Final = "flights"
PORT: Final = click.IntRange(0, 65_535)


@click.command(
    cls=Verb,
    impact="rw",
    examples=(
        "tidelog dev",
        "tidelog dev --memory --seed-topic orders:6",
        "tidelog dev --kafka-port 0 --grpc-port 0 --http-port 0 --ports-file ports.json",
        "tidelog dev --demo --exit-after-demo",
    ),
)
@click.option("--kafka-port", type=PORT, metavar="PORT", help="Default 9092; 0 takes any.")
@click.option("--grpc-port", type=PORT, metavar="PORT", help="Default 9095; 0 takes any.")
@click.option("--http-port", type=PORT, metavar="PORT", help="Default 8080; 0 takes any.")
@click.option("--data-dir", metavar="DIR", help=f"Where records are kept; default {DATA_DIR}.")
@click.option("--memory", is_flag=True, help="Keep nothing; gone when it stops.")
@click.option("--seed-topic", multiple=True, metavar="NAME:PARTITIONS", help="Create a topic.")
@click.option("--ready-fd", type=int, help="Write the ports to this descriptor when ready.")
@click.option("--ports-file", metavar="FILE", help="Write the ports to this file when ready.")
@click.option("--demo", is_flag=False, flag_value=DEMO, metavar="[NAME]", help="Run a demo.")
@click.option("--exit-after-demo", is_flag=True, help="Stop when the demo has ended.")
@click.pass_obj
def dev(cli: Run, /, **options: Any) -> int:
    """Run a node for development on this machine.

    Nothing is asked for a password, so it listens on loopback only. A topic comes into being when a
    Kafka client names it; over gRPC topics are created, as with: tidelog topic create.
    """
    _check_together(options)
    in_memory = _memory_directory() if options["memory"] else None
    try:
        try:
            loaded = load(
                environment=cli.environment,
                overrides=cli.overrides,
                base=DEFAULTS if in_memory is None else IN_MEMORY,
                options=list(_options(options, in_memory)),
            )
        except ConfigRefused as refused:
            raise configuration_failed(refused) from refused
        audience = DevAudience(cli, loaded, options, seeds=seed_topics(options["seed_topic"]))
        check_signals(
            ready_fd=options["ready_fd"],
            ports_file=options["ports_file"],
            data_dir=loaded.settings.node.data_dir,
        )
        code = run(loaded, audience)
        return audience.demo_code or code
    finally:
        if in_memory is not None:
            shutil.rmtree(in_memory, ignore_errors=True)


def _check_together(options: dict[str, Any]) -> None:
    """Look, before anything is made, at what the options say of each other.

    Raises:
        Usage: there is no such demo, or one option makes another meaningless.
    """
    if options["demo"] not in {None, DEMO}:
        raise Usage(f'there is no demo "{options["demo"]}"', hint=f"there is one: --demo {DEMO}")
    if options["exit_after_demo"] and options["demo"] is None:
        raise Usage("--exit-after-demo without a demo", hint="write: --demo --exit-after-demo")
    if options["memory"] and options["data_dir"] is not None:
        raise Usage(
            "--memory keeps nothing, and --data-dir says where it is kept", hint="leave one out"
        )


def _memory_directory() -> str:
    """Make the directory of a node that keeps nothing, in memory where there is room for it."""
    roomy = (
        Path(MEMORY_DIR).is_dir() and shutil.disk_usage(MEMORY_DIR).free >= MEMORY_FREE_BYTES_MIN
    )
    return tempfile.mkdtemp(prefix="tidelog-", dir=MEMORY_DIR if roomy else None)


def _options(options: dict[str, Any], in_memory: str | None) -> list[Given]:
    """Return what the command's own flags set."""
    given = [
        Given(f"listeners.{door}", "bind", f"127.0.0.1:{port}", flag)
        for door, flag in PORT_FLAGS.items()
        if (port := options[f"{door}_port"]) is not None
    ]
    if options["data_dir"] is not None:
        given.append(Given("node", "data_dir", options["data_dir"], "--data-dir"))
    if in_memory is not None:
        given.append(Given("node", "data_dir", in_memory, "--memory"))
    return given


@dataclass(slots=True)
class DevAudience:
    """Prints the banner, creates topics, runs the demo."""

    cli: Run
    loaded: Loaded
    options: dict[str, Any]
    seeds: Sequence[SeedTopic] = ()
    demo_code: int = 0

    async def started(self, node: Node) -> None:
        """Create what was asked for before anybody connects."""
        for otherwise in await create_seeds(node, self.seeds):
            self.cli.warn(otherwise)

    def ready(self, node: Node, addresses: dict[str, Address], stop: Callable[[], None]) -> None:
        """Tell people and programs; begin the demo."""
        settings = self.loaded.settings
        text = banner(
            addresses,
            version=release(),
            data_dir=None if self.options["memory"] else settings.node.data_dir,
            is_open=bool(settings.exposed()),
        )
        self.cli.write(f"{text}Ready in {process_age_ms() / 1000:.1f} s. Ctrl-C stops.\n")
        self.cli.stdout.flush()
        tell_ready(
            addresses,
            ready_fd=self.options["ready_fd"],
            ports_file=self.options["ports_file"],
        )
        if self.options["demo"]:
            node.broker.context.spawn.start(self._run_demo(addresses, stop), "demo")

    def option(self, setting: str, value: str) -> str:
        """Return the command's own flag for a setting, where there is one."""
        if setting == "node.data_dir":
            return f"--data-dir {value}"
        door = setting.removeprefix("listeners.").removesuffix(".bind")
        if door in PORT_FLAGS:
            return f"{PORT_FLAGS[door]} {value.rpartition(':')[2]}"
        return override(setting, value)

    async def _run_demo(self, addresses: dict[str, Address], stop: Callable[[], None]) -> None:
        from api.cli import demo  # noqa: PLC0415 - it loads the SDK

        self.demo_code = await demo.run(self.options["demo"], addresses, self.cli)
        if self.options["exit_after_demo"]:
            stop()

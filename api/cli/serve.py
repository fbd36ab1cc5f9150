"""`tidelog serve`: a node for production."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from api.cli.starting import check_signals, configuration_failed, run, tell_ready
from api.config_file import ConfigRefused, Given, load, rows_of
from api.door import Address
from api.main import checked
from api.node.assemble import Node
from api.node.refusals import override
from tidelog.cli.output import Column
from tidelog.cli.run import Run
from tidelog.cli.verb import Verb

COLUMNS = (Column("setting"), Column("value"), Column("origin"), Column("about", wide=True))


@click.command(
    cls=Verb,
    impact="rw",
    columns=COLUMNS,
    examples=(
        "tidelog serve --config tidelog.toml",
        "tidelog serve --config tidelog.toml --check",
        "tidelog serve --seeds log-1:9093,log-2:9093,log-3:9093 -X cluster.id=orders",
        "tidelog serve -X node.data_dir=/srv/tidelog -X listeners.kafka.bind=127.0.0.1:19092",
    ),
)
@click.option("--config", "file", metavar="FILE", help="TOML; see config.reference.toml.")
@click.option("--node-id", type=click.IntRange(0, (1 << 31) - 1), help="The same as node.id.")
@click.option("--seeds", metavar="HOST:PORT,...", help="The same as cluster.seeds.")
@click.option("--check", is_flag=True, help="Read the configuration, start nothing.")
@click.option("--allow-unknown", is_flag=True, help="Warn of names that are not known.")
@click.option("--ready-fd", type=int, help="Write the ports to this descriptor when ready.")
@click.option("--ports-file", metavar="FILE", help="Write the ports to this file when ready.")
@click.pass_obj
def serve(cli: Run, /, **options: Any) -> int:
    """Run a node until it is told to stop (SIGTERM, or Ctrl-C).

    Exit codes: 0 stopped in order, 10 configuration refused, 11 the log directory failed, 12 it is
    somebody else's or in use, 13 its format is newer.
    """
    try:
        loaded = load(
            file=options["file"],
            environment=cli.environment,
            overrides=cli.overrides,
            options=_given(options),
            allow_unknown=options["allow_unknown"],
        )
        loaded = checked(loaded)
    except ConfigRefused as refused:
        raise configuration_failed(refused) from refused
    if not options["check"]:
        check_signals(
            ready_fd=options["ready_fd"],
            ports_file=options["ports_file"],
            data_dir=loaded.settings.node.data_dir,
        )
        return run(loaded, ServeAudience(options))
    for warning in loaded.warnings:
        cli.warn(warning)
    changed = [row._asdict() for row in rows_of(loaded) if row.origin != "default"]
    cli.tell("the configuration is good; what differs from the defaults:")
    return cli.items(COLUMNS, changed)


def _given(options: dict[str, Any]) -> list[Given]:
    """Return what the command's own flags set."""
    flags = {"--node-id": ("node", "id", "node_id"), "--seeds": ("cluster", "seeds", "seeds")}
    return [
        Given(section, key, str(options[name]), flag)
        for flag, (section, key, name) in flags.items()
        if options[name] is not None
    ]


@dataclass(frozen=True, slots=True)
class ServeAudience:
    """Tells programs when the node is ready; people read the log."""

    options: dict[str, Any]

    async def started(self, node: Node) -> None:
        """Nothing is prepared for clients."""

    def ready(self, node: Node, addresses: dict[str, Address], stop: Callable[[], None]) -> None:
        """Tell programs."""
        del node, stop
        tell_ready(
            addresses, ready_fd=self.options["ready_fd"], ports_file=self.options["ports_file"]
        )

    def option(self, setting: str, value: str) -> str:
        """Return the option of a setting; refusals speak of none that has a flag of its own."""
        return override(setting, value)

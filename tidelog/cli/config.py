"""`tidelog config`: every setting, its value, and where the value comes from."""

import click

from tidelog import _launcher
from tidelog.cli.client_settings import SECTION, SETTINGS, client_settings, split_override
from tidelog.cli.failure import CommandFailed, Exit
from tidelog.cli.output import Column
from tidelog.cli.run import Run
from tidelog.cli.verb import Noun, Verb

COLUMNS = (
    Column("setting"),
    Column("value"),
    Column("origin", about="default, a file, an environment variable, or -X."),
    Column("about", wide=True),
)


@click.group(cls=Noun, examples=("tidelog config show --origin",))
def config() -> None:
    """Show every setting, and where its value comes from."""


@config.command(
    cls=Verb,
    columns=COLUMNS,
    examples=(
        "tidelog config show",
        "tidelog config show --origin --config tidelog.toml",
        "tidelog config show --defaults -F json",
        "TIDELOG_CLIENT__ADDRESS=10.0.0.7:9095 tidelog config show --origin",
    ),
)
@click.option("--origin", is_flag=True, help="Also show where each value comes from.")
@click.option("--defaults", is_flag=True, help="Also show what nobody has set.")
@click.option("--config", "file", metavar="FILE", help="The node's configuration file.")
@click.pass_obj
def show(run: Run, /, *, origin: bool, defaults: bool, file: str | None) -> int:
    """Show the settings that a client here, and a node started here, would have."""
    rows: list[dict[str, object]] = [
        {
            "setting": f"{SECTION}.{name}",
            "value": value.text,
            "origin": value.origin,
            "about": SETTINGS[name].about,
        }
        for name, value in client_settings(
            run.overrides, run.environment, foreign_sections=True
        ).items()
    ]
    of_node = [one for one in run.overrides if split_override(one)[0] != SECTION]
    try:
        node = _launcher.node_settings(of_node, run.environment, file)
    except ValueError as refused:
        raise CommandFailed(
            str(refused), hint=getattr(refused, "hint", None), exit_code=Exit.CONFIGURATION
        ) from refused
    rows += node or []
    if not defaults and not run.is_json:
        rows = [row for row in rows if row["origin"] != "default"]
        if not rows:
            run.tell("every setting has its default; see them with: tidelog config show --defaults")
    columns = [column for column in COLUMNS if origin or column.key != "origin"]
    return run.items(columns, rows)

"""`tidelog version`."""

import platform

import click

from tidelog._launcher import release
from tidelog.cli.output import Column
from tidelog.cli.run import Run
from tidelog.cli.verb import Verb

COLUMNS = (Column("version"), Column("python"), Column("platform", wide=True))


@click.command(cls=Verb, columns=COLUMNS, examples=("tidelog version", "tidelog version -F json"))
@click.pass_obj
def version(run: Run) -> int:
    """Print the version."""
    if run.format == "text":
        run.write(f"tidelog {release()}\n")
        return 0
    about = {
        "version": release(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    return run.items(COLUMNS, [about])

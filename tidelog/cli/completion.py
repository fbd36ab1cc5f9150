"""`tidelog completion SHELL`."""

import click
from click.shell_completion import get_completion_class

from tidelog.cli.completing import VARIABLE
from tidelog.cli.run import Run
from tidelog.cli.verb import Verb

SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Verb,
    examples=(
        'eval "$(tidelog completion bash)"',
        "tidelog completion fish > ~/.config/fish/completions/tidelog.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: bash, zsh or fish."""
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"{shell} is none of {', '.join(SHELLS)}")
    run = context.ensure_object(Run)
    run.write(script(context.find_root().command, {}, "tidelog", VARIABLE).source() + "\n")

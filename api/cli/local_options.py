"""The options that several verbs of `tidelog local` have."""

from typing import Final

import click

DATA_DIR: Final = "./.tidelog-local"

data_option = click.option(
    "--data", metavar="DIR", default=DATA_DIR, help=f"Of the cluster; default {DATA_DIR}."
)
node_option = click.option(
    "--node", "numbers", type=int, multiple=True, metavar="N", help="Only this one; repeatable."
)

"""Elections, ISR and standing of nodes as scripts; after each command every row is settled."""

from pathlib import Path

import pytest

from tests.controller_bench import Bench
from tests.datadriven import run_script


@pytest.mark.parametrize("script", ["elections", "recovery", "isr", "standing", "levels"])
def test_script(script: str, scripts: Path, rewrite: bool) -> None:
    run_script(scripts / f"controller/{script}.txt", Bench().execute, rewrite=rewrite)

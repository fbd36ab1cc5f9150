"""`tidelog dump KIND -F help` names the fields of the rows that are printed."""

import json
from pathlib import Path

from tests.unit.api.cli.test_verify import largest, run, written


def test_the_schema_of_dump_names_every_field(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    log = largest(directory / "partitions", "*.log")
    index = log.with_suffix(".index")
    index.touch()  # a short log has none
    files = {
        "segment": (str(log), "--records"),
        "times": (str(log.with_suffix(".times")),),
        "index": (str(index),),
        "journal": (str(directory / "journal" / "00000001.wal"),),
    }
    for kind, words in files.items():
        named = json.loads(run("dump", kind, "-F", "help")[1])["properties"].keys()
        lines = run("dump", kind, *words, "-F", "json")[1].splitlines()
        assert lines
        for line in lines:
            assert json.loads(line).keys() <= named, kind

"""A Tidelog node under measurement: `tidelog serve` of this tree, with its own manners."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.machine import CACHE
from bench.server import Running, process

ROOT: Final = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """Return the environment of a node: an installed program has its bytecode, so this has it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TIDELOG_")}
    env["PYTHONDONTWRITEBYTECODE"] = ""  # also where it is added to ours
    env["PYTHONPYCACHEPREFIX"] = str(CACHE / "bytecode")
    env["PYTHONPATH"] = str(ROOT)
    return env


@contextlib.contextmanager
def tidelog(data: Path, *settings: str, ready_s: list[float] | None = None) -> Iterator[Running]:
    """Run a node on `data`; `ready_s` gets the seconds from before exec to every door open."""
    reading, writing = os.pipe()
    overrides = [
        f"node.data_dir={data}",
        *(f"listeners.{door}.bind=127.0.0.1:0" for door in ("kafka", "grpc", "http")),
        "topics.auto_create=true",
        "topics.auto_create_partitions=1",
        *settings,
    ]
    options = [part for override in overrides for part in ("-X", override)]
    command = [sys.executable, "-m", "tidelog", "serve", "--ready-fd", str(writing), *options]
    log = data.with_name(f"{data.name}.log")
    began = time.perf_counter()
    with process(command, log=log, environment=environment(), pass_fds=[writing]) as child:
        os.close(writing)
        with os.fdopen(reading, "rb") as told:
            line = told.readline()
        if ready_s is not None:
            ready_s.append(time.perf_counter() - began)
        if not line:
            raise RuntimeError(f"the node did not start:\n{log.read_text(encoding='utf-8')}")
        doors = {name: f"127.0.0.1:{port}" for name, port in json.loads(line).items()}
        yield Running("tidelog", child.pid, doors["kafka"], doors)

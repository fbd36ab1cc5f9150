"""A client in Python: a process of its own, so that its CPU is told apart from everybody else's."""

import json
import subprocess
import sys

from bench.tidelog_node import environment


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line of a module of `bench/client`."""
    return [sys.executable, "-m", f"bench.client.{module}", *arguments]


def run(module: str, *arguments: str) -> dict[str, float]:
    """Run a client to its end; return the figures that it printed, one JSON object.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    done = subprocess.run(
        command(module, *arguments),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)}: {done.stderr.strip()[-1_000:]}")
    told: dict[str, float] = json.loads(done.stdout or "{}")
    return told

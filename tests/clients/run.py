"""`make clients`: a program in each language, from the proto files alone, against a real node.

Each program is built, then goes through the same steps, which are checked record by record against
the log: `python -m tests.clients.run [LANGUAGE ...] [--source DIRECTORY]`.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.clients.grouping import consume
from tests.clients.languages import LANGUAGES, Built, MissingError, built
from tests.clients.program import ProgramFailed
from tests.clients.reading import fail, read_ranges
from tests.clients.scene import Report, Scene
from tests.clients.writing import refuse
from tests.kill.node_process import NodeFailed, NodeProcess

STEPS: Final = (
    "join with two members",
    "produce, an answer cut off",
    "commit",
    "cut off in the middle, resumed",
    "seek while it runs",
    "leave, the other one takes over",
    "no loss, no other repeats",
    "read a range of event time",
    "read a range of append time",
    "a partial failure",
    "a whole failure",
    "a malformed line",
)
"""Every one must be passed by every language."""


async def go_through(built_program: Built, node: str, folder: Path, *, report: Report) -> None:
    """Put one program through every step; what stops it is a complaint too."""
    try:
        async with Scene(built_program, node, folder, report=report).open() as scene:
            log = await consume(scene)
            await read_ranges(scene, log)
            await fail(scene)
            await refuse(scene)
    except ProgramFailed as error:
        report.wrong.append(f"{report.language}: {error}")


def missed(report: Report) -> list[str]:
    """Return the steps that a language has not passed."""
    return [step for step in STEPS if step not in report.passed]


def run(languages: Sequence[str], source: Path | None = None) -> list[Report]:
    """Build and run the programs of these languages, one after the other, on one node.

    Raises:
        NodeFailed: the node does not start, or does not end in order.
    """
    reports = [Report(language) for language in languages]
    with TemporaryDirectory(prefix="tidelog-clients-") as name:
        folder = Path(name)
        node = NodeProcess(folder / "data", (), folder)
        try:
            node.start()
            for report in reports:
                try:
                    program = built(report.language, source)
                except MissingError as error:
                    report.wrong.append(str(error))
                    continue
                asyncio.run(go_through(program, node.doors.grpc, folder, report=report))
            if code := node.terminate():
                raise NodeFailed(f"ended with {code}: {node.last_words()}")
        finally:
            node.close()
    return reports


def table(reports: Sequence[Report]) -> str:
    """Show a column for each language, a row for each step."""
    width = max(map(len, STEPS))
    head = " " * width + "".join(f"  {report.language:>6}" for report in reports)
    rows = [
        f"{step:<{width}}"
        + "".join(f"  {'ok' if step in report.passed else 'FAIL':>6}" for report in reports)
        for step in STEPS
    ]
    facts = [f"{report.language}: {', '.join(report.facts)}" for report in reports]
    return "\n".join([head, *rows, *facts, *(one for report in reports for one in report.wrong)])


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if every language has passed every step."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients.run", description=__doc__)
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=", ".join(LANGUAGES))
    parser.add_argument("--source", type=Path, help="a program elsewhere than in clients/LANGUAGE")
    options = parser.parse_args(arguments)
    languages = options.languages or list(LANGUAGES)
    if unknown := sorted(set(languages) - set(LANGUAGES)):
        parser.error(f"no client in {', '.join(unknown)}; there are {', '.join(LANGUAGES)}")
    if options.source and len(languages) != 1:
        parser.error("--source is for one LANGUAGE")
    reports = run(languages, options.source)
    bad = [report for report in reports if report.wrong or missed(report)]
    verdict = f"{len(reports) - len(bad)} of {len(reports)} languages passed every step"
    sys.stdout.write(f"{table(reports)}\n{verdict}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

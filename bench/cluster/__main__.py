"""Three nodes of Tidelog beside three of Kafka: `python -m bench.cluster [--quick] [--only ...]`.

Every question in turn, one table, one exit code: 1 if a gated row misses its target, which are
those of records lost or doubled. What each covers and what bounds it: bench/README.md.
"""

import argparse
from typing import Final

from bench.cluster import catch_up, failover, many, produce
from bench.harness import Question, run

QUESTIONS: Final[dict[str, Question]] = {
    "produce": produce.measure,
    "failover": failover.measure,
    "catch-up": catch_up.measure,
    "many": many.measure,
}


def main() -> int:
    """Measure three nodes."""
    return run(argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]), QUESTIONS)


if __name__ == "__main__":
    raise SystemExit(main())

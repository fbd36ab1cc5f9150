"""One partition, its replicas, their disks and links, and its elections, from one seed.

`python -m tests.sim.replication --seed N` prints the run of one seed; `--seeds N` runs many.

The nodes are the real cores with a shell of lists around them (`tests/sim/replication_node.py`),
the controller is the real rule of elections with delays (`tests/sim/replication_controller.py`).
The fault model: links are slow, break, or carry nothing one way or both; processes are killed,
stand still, or lose power alone or all at once; disks are slow; clocks differ.

Checked while it runs:
    ACKED_IS_FLUSHED               at the instant the mark passes a record, min ISR disks hold it.
    COMMITTED_IS_FOREVER           whoever leads holds every committed record at its offset.
    ELECTABLE_HOLDS_COMMITTED      a clean candidate that runs holds what is committed.
    POWER_CUT_LOSES_NOTHING        some candidate's disk has all of it, whatever happens next.
    SHOWN_MARK_NEVER_FALLS         what the newest leader shows never goes back.
    CLOSED_TIME_HOLDS              no record comes later with a time that was told to be closed.
    ROOM_IS_KEPT                   a follower is never sent more than its room and one batch.
At the end, healed: PROGRESS_AFTER_HEALING, and REPLICAS_ARE_EQUAL.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.sim.replication_world import World


def breaches(seeds: Sequence[int], **options: int) -> Iterator[tuple[int, str]]:
    """Yield seed and invariant for each seed that breaks one."""
    for seed in seeds:
        try:
            World(seed, **options).run()
        except AssertionError as invariant:
            yield seed, str(invariant)


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if everything holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.replication", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="print the run of one")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--min-insync", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.seed is not None:
        world = World(
            options.seed, replicas=options.replicas, min_insync_replicas=options.min_insync
        )
        try:
            world.run()
        finally:
            sys.stdout.write("\n".join(world.trace) + "\n")
        return 0
    happened: Counter[str] = Counter()
    for seed in range(options.first, options.first + options.seeds):
        world = World(seed, replicas=options.replicas, min_insync_replicas=options.min_insync)
        try:
            world.run()
        except AssertionError as invariant:
            sys.stdout.write(f"seed {seed}: {invariant}\n")
            return 1
        happened += world.happened
        happened += Counter(acked=world.acked, refused=world.refused, unknown=world.unknown)
    sys.stdout.write(f"{options.seeds} seeds: {dict(sorted(happened.items()))}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

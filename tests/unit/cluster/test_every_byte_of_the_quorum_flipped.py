"""Every byte of the quorum's directory, flipped: refused by name, or nothing is lost unsaid.

Snapshot, log and vote are data. The one thing given up is the last entry of the log, which no later
one proves to have been durable: it is cut as a torn tail, and reported (docs/formats/metadata_log).
"""

import os
import random
from collections import Counter
from typing import Final

from api.sim.image import Image
from cluster.controller.image import MetadataImage
from cluster.raft.entry import decode
from cluster.raft.log_file import HEAD_BYTES, SUFFIX, decode_head
from cluster.raft.snapshot import SUFFIX as SNAPSHOT
from cluster.shell.raft_quorum import RaftQuorum
from model.errors import DirectoryRefused
from tests.fuzz.fuzz_metadata_directory import SETTINGS, at_once, image
from tests.fuzz.memory_disk import MemoryDisk
from tests.quorum import open_voter

SEED: Final = int(os.environ.get("SEED", "1"))


def opened(whole: Image, changed: dict[str, bytes]) -> RaftQuorum | None:
    """Return the quorum; None: it is refused."""
    try:
        return at_once(open_voter(MemoryDisk(whole, changed), settings=SETTINGS))
    except DirectoryRefused:
        return None


def seen(metadata: MetadataImage) -> tuple[object, ...]:
    """Return all that the metadata say, but for the position of the log."""
    return (
        metadata.cluster_id, metadata.topics, metadata.brokers, metadata.next_producer_id,
    )  # fmt: skip


def last_entry(content: bytes) -> int:
    """Return where the last entry of a log file begins."""
    salt = decode_head(content).salt
    last = at = HEAD_BYTES
    while at < len(content):
        last, at = at, at + decode(content, at, salt=salt).size_bytes
    return last


def test_no_flipped_byte_loses_metadata_unsaid() -> None:
    whole = image()
    right = opened(whole, {})
    assert right is not None
    assert not right.dropped
    chance = random.Random(SEED)
    found: Counter[tuple[str, str]] = Counter()
    wrong = []
    for name, content in whole.files.items():
        kind = "." + name.rpartition(".")[2] if "." in name else name.rpartition("/")[2]
        for at in range(len(content)):
            damaged = bytearray(content)
            damaged[at] ^= chance.randrange(1, 256)
            voter = opened(whole, {name: bytes(damaged)})
            if voter is None:
                what = "refused"
            elif seen(voter.image) == seen(right.image) and voter.term == right.term:
                what = "same"
            elif kind == SUFFIX and at >= last_entry(content) and voter.dropped:
                what = "dropped"
            else:
                what = "WRONG"
                wrong.append((name, at, damaged[at]))
            found[kind, what] += 1
    assert not wrong, f"{len(wrong)} of {found}, SEED={SEED}: {wrong[:20]}"
    assert {kind: {w for k, w in found if k == kind} for kind, _ in found} == {
        SUFFIX: {"refused", "dropped"},
        SNAPSHOT: {"refused"},
        "quorum_state": {"refused"},
    }

"""Checkpoint, identity and clean mark: the vectors of their formats; spoilt and newer files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from logstore import checkpoint, identity
from logstore.checkpoint import Checkpoint, CheckpointRow, SegmentRow, encode_file, encode_row
from logstore.crc32c import crc32c
from logstore.event_bounds import UNKNOWN, Bounds
from logstore.identity import CleanMark, Identity, decode_clean, encode_clean
from logstore.removed import Removed
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import AppendTimeMs, NodeId, Offset, PartitionId, RegistrationEpoch, TopicId
from tests.datadriven import Command, run_script

TOPIC = TopicId(bytes(range(16)))
ROW = CheckpointRow(
    partition=PartitionId(TOPIC, 3),
    log_start=Offset(5),
    end_offset=Offset(50),
    sequence=900,
    high_watermark=Offset(50),
    removed=Removed(AppendTimeMs(1_700_000_000_110), 2, (Bounds(3, 30), Bounds(70, 70))),
    segments=(
        SegmentRow(
            Offset(0),
            4096,
            72,
            AppendTimeMs(1_700_000_000_120),
            AppendTimeMs(1_700_000_000_990),
            Bounds(10, 20),
        ),
        SegmentRow(Offset(42), 0, 0, checkpoint.NO_TIME, checkpoint.NO_TIME, UNKNOWN),
    ),
)
FLOOR = AppendTimeMs(1_700_000_010_000)
GRAVES = [(PartitionId(TOPIC, 4), 950)]
FILE = encode_file([encode_row(ROW)], GRAVES, covered=1000, clock_floor=FLOOR)
OWNER = Identity(bytes(range(16)), "c1", NodeId(2), RegistrationEpoch(9))
CLEAN = CleanMark(1000, FLOOR)
FILES: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "file": (FILE, checkpoint.decode),
    "identity": (identity.encode(OWNER), identity.decode),
    "clean": (encode_clean(CLEAN), decode_clean),
}


@pytest.mark.parametrize("script", ["file", "identity"])
def test_vectors(scripts: Path, rewrite: bool, script: str) -> None:
    def execute(command: Command) -> str:
        return FILES[command.name][0].hex(" ", 4)

    run_script(scripts / f"checkpoint/{script}.txt", execute, rewrite=rewrite)


def test_what_is_written_is_read() -> None:
    assert checkpoint.decode(FILE) == Checkpoint(
        covered=1000, clock_floor=FLOOR, rows=(ROW,), tombstones=tuple(GRAVES)
    )
    assert identity.decode(FILES["identity"][0]) == OWNER
    assert decode_clean(FILES["clean"][0]) == CLEAN


@pytest.mark.parametrize("name", FILES)
def test_every_changed_byte_and_every_cut_is_noticed(name: str) -> None:
    file, decode = FILES[name]
    for at in range(len(file)):
        with pytest.raises(MalformedError):
            decode(bytes([*file[:at], file[at] ^ 0x40, *file[at + 1 :]]))
        with pytest.raises(MalformedError):
            decode(file[:at])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("filler", [b"\x00", b"\xff"])
def test_unwritten_space_is_no_file(name: str, filler: bytes) -> None:
    with pytest.raises(MalformedError):
        FILES[name][1](filler * 200)


@pytest.mark.parametrize("name", FILES)
def test_a_newer_format_is_refused_not_guessed(name: str) -> None:
    file, decode = FILES[name]
    newer = file[:8] + b"\x00\x02" + file[10:-4]
    with pytest.raises(DirectoryRefused, match="newer Tidelog") as refused:
        decode(newer + crc32c(newer).to_bytes(4, "big"))
    assert refused.value.exit_code is DirectoryExit.NEWER_FORMAT

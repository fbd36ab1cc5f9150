"""Any bytes as a snapshot of the producers of a partition."""

from contextlib import suppress
from functools import partial
from typing import Final

from logstore.producer_snapshot import decode, encode
from logstore.producer_state import ProducerState, Remembered
from model.errors import MalformedError, RequestError
from model.ids import AppendTimeMs, Offset, ProducerEpoch, ProducerId, Sequence
from tests.fuzz.sealing import sealed_at

_CRC_AT: Final = 24
END: Final = Offset(1_000)
_EMPTY: Final = partial(ProducerState, limit=100, expiration_ms=86_400_000)


def samples() -> list[bytes]:
    """Return snapshots of no, one and several producers."""
    files = []
    for producers in (0, 1, 7):
        state = _EMPTY()
        for number in range(producers):
            for batch in range(number + 1):
                base = Offset(100 * number + 3 * batch)
                state.appended(
                    ProducerId(number), ProducerEpoch(0),
                    Remembered(Sequence(3 * batch), 3, base, AppendTimeMs(10 * batch)),
                )  # fmt: skip
        files.append(encode(state, END))
    return files


def fuzz(data: bytes) -> None:
    """Read the file as it is, and with its checksum made right; use what it says."""
    for file in (data, sealed_at(data, _CRC_AT, data[:_CRC_AT], data[_CRC_AT + 4 :])):
        try:
            _, producers = decode(file)
        except MalformedError:
            continue
        state = _EMPTY()
        state.restore(iter(producers))
        for producer_id, known in producers[:3]:
            with suppress(RequestError):
                state.check(producer_id, known.epoch, known.next_sequence, records=2)

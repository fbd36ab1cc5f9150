"""Any bytes as the `identity` of a directory, and as the mark of a clean stop."""

from collections.abc import Callable
from contextlib import suppress

from logstore.identity import (
    CleanMark,
    Identity,
    decode,
    decode_clean,
    encode,
    encode_clean,
)
from model.errors import DirectoryRefused, MalformedError
from model.ids import AppendTimeMs, NodeId, RegistrationEpoch
from tests.fuzz.sealing import sealed_at_end


def samples() -> list[bytes]:
    """Return both kinds of file."""
    identity = Identity(b"directory uuid 1", "cluster-ü", NodeId(3), RegistrationEpoch(7))
    return [encode(identity), encode_clean(CleanMark(99, AppendTimeMs(1_700_000_000_000)))]


def fuzz(data: bytes) -> None:
    """Read the file as both, as it is and with its checksum made right."""
    for file in (data, sealed_at_end(data)):
        _same(file, lambda raw: encode(decode(raw)))
        _same(file, lambda raw: encode_clean(decode_clean(raw)))


def _same(file: bytes, there_and_back: Callable[[bytes], bytes]) -> None:
    with suppress(MalformedError, DirectoryRefused):
        assert there_and_back(file) == file, "not what was read"

"""Any bytes as the archive of the demo's flights, and as the CSV in it."""

import io
import tarfile
import zipfile
from contextlib import suppress
from functools import lru_cache
from typing import Final

from api.cli.flights import MEMBER, flights_of, text_of

HEADING: Final = "year,month,tailnum,time_hour"
LINES: Final = (
    "2013,1,N14228,2013-01-01T05:00:00Z", "2013,1,NA,2013-01-01T05:00:00Z",
    "2013,9,N24211,2013-09-30T22:00:00Z",
)  # fmt: skip
_ARCHIVE, _TEXT = b"a", b"t"


@lru_cache(maxsize=1)
def samples() -> list[bytes]:
    """Return a text, and an archive of it with and without compression."""
    text = "\n".join((HEADING, *LINES, "")).encode()
    archives = [_archive(text, kind) for kind in ("w", "w:gz")]
    return [_TEXT + text, *(_ARCHIVE + archive for archive in archives)]


def _archive(text: bytes, kind: str) -> bytes:
    zipped, whole = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("flights.csv"), text)
    with tarfile.open(fileobj=whole, mode=kind) as tar:  # type: ignore[call-overload]
        member = tarfile.TarInfo(MEMBER)
        member.size = len(zipped.getvalue())
        tar.addfile(member, io.BytesIO(zipped.getvalue()))
    return whole.getvalue()[: 4 << 10]


def fuzz(data: bytes) -> None:
    """Read the input as what its first byte says."""
    with suppress(ValueError):
        if data[:1] == _ARCHIVE:
            text_of(io.BytesIO(data[1:]), "archive")
        else:
            list(flights_of(data[1:].decode("ascii", "replace")))

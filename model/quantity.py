"""Numbers with a unit as operators write them: `30s`, `7d`, `512KiB`."""

import re
from typing import Final

QUANTITIES: Final = {
    "bytes": {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40},
    "ms": {
        "ms": 1,
        "s": 1_000,
        "m": 60_000,
        "h": 3_600_000,
        "d": 86_400_000,
        "w": 604_800_000,
    },
    "percent": {"%": 1},
}
"""Unit to suffix to factor, each in growing order. KB and MB are refused: they mean two things."""

_NUMBER: Final = re.compile(r"(-?[0-9]{1,19})([A-Za-z%]*)", flags=re.ASCII)


def parse_quantity(text: str, unit: str) -> int | None:
    """Return a number in `unit` from text that may name a suffix of it; None if it is not one."""
    if (found := _NUMBER.fullmatch(text)) is None:
        return None
    digits, suffix = found.groups()
    factor = QUANTITIES.get(unit, {}).get(suffix) if suffix else 1
    return None if factor is None else int(digits) * factor

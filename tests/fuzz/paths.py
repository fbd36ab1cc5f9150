"""Which ways through our own code an input takes that none has taken before.

A way is a step from one line to the next, over calls and returns. Following them makes an input
some fifteen times slower, so that only a share of all inputs is followed: see `child`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

ROOT: Final = str(Path(__file__).parent.parent.parent)
OURS: Final = tuple(
    f"{ROOT}/{folder}/"
    for folder in ("model", "logstore", "consumer_groups", "cluster", "api", "tidelog")
)
CANARY: Final = f"{ROOT}/tests/fuzz/fuzz_canary.py"
STEPS_MAX: Final = 1 << 14
"""Lines after which an input is followed no further: a large one does the same again and again."""


class Paths:
    """The ways that were seen in this process."""

    def __init__(self) -> None:
        """Begin with none."""
        self._seen: set[tuple[CodeType, int, int]] = set()
        self._ours: dict[CodeType, bool] = {}
        self._last = 0
        self._steps = 0

    def __len__(self) -> int:
        """Return how many steps between lines were seen."""
        return len(self._seen)

    def follow(self, read: Callable[[], object]) -> bool:
        """Call, and tell whether it took a step that is new; its exceptions pass."""
        known = len(self._seen)
        self._last = self._steps = 0
        sys.settrace(self._enter)
        try:
            read()
        finally:
            sys.settrace(None)
        return len(self._seen) > known

    def _enter(self, frame: FrameType, event: str, _argument: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            name = code.co_filename
            ours = self._ours[code] = name.startswith(OURS) or name == CANARY
        return self._step if ours else None

    def _step(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            line = frame.f_lineno
            self._seen.add((frame.f_code, self._last, line))
            self._last = line
            self._steps += 1
            if self._steps > STEPS_MAX:
                sys.settrace(None)
                return None
        return self._step

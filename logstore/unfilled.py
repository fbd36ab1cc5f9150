"""Memory for a read, which fills it itself: Python's own `bytearray(n)` writes n zeros first.

An answer of 1 MiB would be written twice. CPython can make a `bytearray` without; on a Python that
has no C interface it is filled after all.
"""

import ctypes
from collections.abc import Callable
from typing import Final, cast

FILLED_BYTES: Final = 16 << 10
"""Up to so many are filled: that costs less than asking for them unfilled, about 1 us."""

Make = Callable[[int], bytearray]


def unfilled_by(python: ctypes.PyDLL | None) -> Make:
    """Return what makes memory of so many bytes by a Python's C interface; None: it has none.

    Whatever was in that memory before is still there: of what no read has filled nothing may leave.
    """
    if python is None:
        return bytearray
    # A prototype of our own: the function that `python` itself holds is everybody's.
    shape = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)
    make = cast(
        "Callable[[None, int], bytearray]", shape(("PyByteArray_FromStringAndSize", python))
    )

    def unfilled(size_bytes: int) -> bytearray:
        """Return memory of so many bytes."""
        return bytearray(size_bytes) if size_bytes <= FILLED_BYTES else make(None, size_bytes)

    return unfilled


unfilled: Final = unfilled_by(getattr(ctypes, "pythonapi", None))

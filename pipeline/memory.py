"""Memory of a stage that works range by range: what one gave back the next takes again, the collector rarely looks.

A range is thousands of small objects that all go at its end: the garbage collector finds nothing among them, and to
look for it cost a tenth to a quarter of a stage's time. What is loaded when a stage opens stays, and is not walked
again.

By default glibc gives large blocks back to the system at once, and every page taken again is a page fault. Does
nothing where the C library is another one.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

# mallopt(3): parameters and their values.
_TRIM_THRESHOLD: Final = (-1, 256 << 20)  # unused bytes at the end of the heap, before they are given back
_MMAP_THRESHOLD: Final = (-3, 32 << 20)  # bytes from which on a block is mapped for itself
_ARENA_MAX: Final = (-8, 1)  # threads that hold the interpreter's lock in turn need one heap
# Objects more than before, until the collector looks at the youngest of them.
_YOUNG: Final = 200_000


def of_ranges() -> None:
    """Set a process up that has loaded what it needs and will work range by range."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 100)
    keep_freed()


def keep_freed() -> bool:
    """Ask the C library to keep what is freed, at most some 256 MB; whether it took it."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(*setting) == 1 for setting in (_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX))

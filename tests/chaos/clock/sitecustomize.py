"""Shifts this process's wall clock by the seconds that a file says, for chaos runs; monotonic clocks stay as they are.

Python imports this module at start when its folder is on PYTHONPATH. Must not be in the way of anything else.
"""

import mmap
import os
import struct
import time


def _shift(path: str) -> None:
    with open(path, "rb") as file:  # noqa: PTH123 - loaded by every process of a run, so it imports next to nothing
        seconds = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    real, real_ns, unpack = time.time, time.time_ns, struct.Struct("<d").unpack_from
    time.time = lambda: real() + unpack(seconds)[0]
    time.time_ns = lambda: real_ns() + int(unpack(seconds)[0] * 1e9)


_path = os.environ.get("TOKENTRAIL_TEST_CLOCK")
if _path:
    _shift(_path)

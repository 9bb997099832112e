"""Child processes that cannot outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

# Set by a parent that wants its child to end with it.
PARENT: Final = "TOKENTRAIL_PARENT_PID"
_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies, if the parent asked for that (Linux; elsewhere nothing)."""
    parent = os.environ.get(PARENT)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before we asked
        os.kill(os.getpid(), signal.SIGTERM)

"""What is left of planted values in a text: any eight consecutive characters, however they are written."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import numpy as np

WINDOW = 8


def plain(text: str) -> str:
    """NFKC, without zero-width and other format characters."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")


def windows(text: str) -> np.ndarray:
    """Every eight consecutive characters of a text as one number each; characters outside ASCII end a window."""
    data = plain(text).encode("ascii", "replace")
    if len(data) < WINDOW:
        return np.empty(0, np.uint64)
    return (
        np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), WINDOW).copy().view(np.uint64).ravel()
    )


class Search:
    """Finds remains of values. Memory: 8 bytes a window, of which a value has as many as characters."""

    def __init__(self, values: Iterable[str]) -> None:
        self.values = list(values)
        parts = [windows(value) for value in self.values]
        owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        every = np.concatenate(parts) if parts else np.empty(0, np.uint64)
        order = np.argsort(every, kind="stable")
        self._windows, self._owners = every[order], owners[order]

    def seen(self, text: str) -> set[int]:
        """Numbers of the values of which eight characters stand in a text."""
        if not len(self._windows):
            return set()
        look = windows(text)
        places = np.minimum(np.searchsorted(self._windows, look), len(self._windows) - 1)
        hits = look[self._windows[places] == look]
        found: set[int] = set()
        for hit in np.unique(hits):
            low, high = np.searchsorted(self._windows, hit, "left"), np.searchsorted(self._windows, hit, "right")
            found.update(self._owners[low:high].tolist())
        return found

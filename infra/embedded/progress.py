"""How a download shows itself: a bar on stderr when a person looks at a terminal, else a few plain lines."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Adds up the bytes of files that arrive in parallel and passes the sum on."""

    def __init__(self, total_bytes: int, show: Callable[[int], None]) -> None:
        self._total_bytes = total_bytes
        self._show = show
        self._done_bytes = 0
        self._lock = threading.Lock()

    @contextmanager
    def of_one_file(self, name: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
        """Yield the function that takes the size of each piece (the shape that jgo asks for)."""
        del name, size_bytes
        yield self.add

    def add(self, piece_bytes: int) -> None:
        """Count one piece; a retried file may count twice, the sum shown stays at the total."""
        with self._lock:
            self._done_bytes = min(self._total_bytes, self._done_bytes + piece_bytes)
            self._show(self._done_bytes)


@contextmanager
def download_progress(
    what: str, files: int, total_bytes: int, tell: Callable[[str], None] | None
) -> Iterator[Progress]:
    """Show a download of known size while the body runs.

    Args:
        what: name of the thing, for a person.
        files: how many files it has.
        total_bytes: their sizes, added up.
        tell: gets the plain lines; without it they go to stderr.
    """
    size = f"{files} files, {total_bytes / 1e6:.0f} MB"
    if sys.stderr.isatty():
        with _bar(f"fetching {what} ({size}, once)", total_bytes) as progress:
            yield progress
        return

    def line(text: str) -> None:
        if tell is not None:
            tell(text)
        else:
            print(text, file=sys.stderr, flush=True)

    quarters_told = [0]

    def show(done_bytes: int) -> None:
        quarter = 4 * done_bytes // max(1, total_bytes)
        if quarter > quarters_told[0]:
            quarters_told[0] = quarter
            line(f"fetching {what}: {25 * quarter} %")

    line(f"fetching {what} ({size}, once)")
    yield Progress(total_bytes, show)


@contextmanager
def _bar(title: str, total_bytes: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total_bytes)
        yield Progress(total_bytes, lambda done_bytes: bar.update(task, completed=done_bytes))

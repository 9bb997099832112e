"""Progress of long work on stderr: a bar at a terminal, a plain line every few seconds elsewhere. Never on stdout."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.progress import TaskID

LINE_EVERY_S: Final = 5.0


class Progress:
    """One piece of work with a known or unknown total.

    Args:
        what: What is being done, for the head of the line.
        total: In whatever unit `update` counts; None where nobody knows.
        quiet: Show nothing at all.
    """

    def __init__(self, what: str, total: float | None = None, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._what = what
        self._total = total
        self._quiet = quiet
        self._begun_s = self._told_s = time.monotonic()
        self._said = ""
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        console = Console(stderr=True)
        if console.is_terminal and not quiet:
            columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}")]
            if total is not None:
                columns += [TaskProgressColumn(), TimeRemainingColumn()]
            self._bar = Bar(*columns, console=console, transient=True)
            self._task = self._bar.add_task(what, total=total, said="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._begun_s

    def update(self, done: float, said: str, total: float | None = None) -> None:
        """Show how far the work is; cheap enough to be called several times a second. `total`, if known only now."""
        self._total = self._total if total is None else total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=self._total, said=said)
            return
        now_s = time.monotonic()
        if self._quiet or now_s - self._told_s < LINE_EVERY_S or said == self._said:
            return
        self._told_s, self._said = now_s, said
        share = f"{100 * done / self._total:.0f} %, " if self._total else ""
        print(f"{self._what}: {share}{said}", file=sys.stderr, flush=True)

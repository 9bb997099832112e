"""The jobs of `keep`, one a module. Each can be ended at any point and run again: what it did, it finds done."""

from __future__ import annotations

from agents.keeping.job import Job


def jobs() -> list[Job]:
    """Every job, in the order in which they are run when several are due."""
    return []

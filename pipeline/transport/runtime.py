"""Run one stage as a process of its own: Faust app, consumer group, lanes, metrics, signals, exit code."""

from __future__ import annotations

from pipeline.settings import Settings
from pipeline.transport.stage import Stage


def run_stage(stage: Stage, settings: Settings) -> int:
    """Run until SIGTERM or SIGINT (0) or an error that must end the process (its exit code); blocks."""
    raise NotImplementedError

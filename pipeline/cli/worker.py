"""`tokentrail worker`: one stage in this process, or every stage under a supervisor."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipeline.cli.context import DataOption, settings_for, stage_settings
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.transport.stage import Stage

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# In the order of the data's path; `keep` works by the clock.
STAGES: Final = ("measure", "redact", "sink", "guard", "meter", "judge", "act")
KEEP: Final = "keep"
PROCESSES: Final = (*STAGES, KEEP)
# Runs where TOKENTRAIL_CLASSIFIERS names something.
CLASSIFY: Final = "classify"


def processes(settings: Settings) -> tuple[str, ...]:
    """What a whole installation runs."""
    return (*PROCESSES, CLASSIFY) if settings.classifiers else PROCESSES


@app.command(epilog="Example: tokentrail worker --stage redact")
def worker(
    stage: Annotated[str, typer.Option(help=f"One of {', '.join((*PROCESSES, CLASSIFY))}, or all.")] = "all",
    data: DataOption = None,
) -> None:
    """Run a stage until SIGTERM or Ctrl-C; start as many workers of a stage as there are partitions."""
    settings = settings_for(data) if stage == "all" else stage_settings(data, stage)
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format=f"%(asctime)s %(levelname)s {stage}: %(message)s"
    )
    if stage == "all":
        from pipeline.cli.supervisor import Supervisor

        raise typer.Exit(Supervisor(settings, data, processes(settings)).run())
    from pipeline.cli.processes import end_with_parent
    from pipeline.transport.runtime import run_stage

    end_with_parent()
    if stage == KEEP:
        from agents.keep import run

        raise typer.Exit(run(settings))
    raise typer.Exit(run_stage(make(stage, settings), settings))


def make(name: str, settings: Settings) -> Stage:
    """The stage by name.

    Raises:
        UsageError: There is none of that name.
    """
    # Each import only for its own stage: a process should not carry what another stage needs.
    if name == "measure":
        from agents.measure import Measure

        return Measure()
    if name == "redact":
        from agents.redact import Redact

        return Redact(settings)
    if name == "sink":
        from agents.sink import Sink

        return Sink()
    if name == "guard":
        from agents.guard import Guard

        return Guard()
    if name == "meter":
        from agents.meter import Meter

        return Meter()
    if name == "judge":
        from agents.judge import Judge

        return Judge()
    if name == "act":
        from agents.act import Act

        return Act()
    if name == CLASSIFY:
        from agents.classify import Classify

        return Classify(settings)
    raise UsageError(f"There is no stage {name!r}; the stages are {', '.join(STAGES)}.")

"""`tokentrail demo`: a seeded day of several tenants through the real Kafka, ClickHouse and every stage, to an end.

Starts all of it in a folder of its own, has the day played, compares what was found with what the seed planted, and
stops everything. The simulator is the package `demo`; how the day is played is `demo_play`, what is told of it
`demo_result`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from demo.scenario import DAY_MS, EVENTS_A_DAY, Scenario, draw
from pipeline.cli.context import DataOption, JsonOption
from pipeline.cli.up import prepare, start_servers
from pipeline.errors import UsageError

app = typer.Typer(rich_markup_mode=None)

# Of the report where there is no terminal.
WIDTH = 140


@app.command(epilog="Example: tokentrail demo --seed 7")
def demo(
    seed: Annotated[int | None, typer.Option(help="Which day; default: a random one, printed.")] = None,
    data: DataOption = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the temporary folder, to look around in it.")] = False,
    patterns_only: Annotated[bool, typer.Option("--patterns-only", help="Redact by patterns, without NER.")] = False,
    events: Annotated[
        int, typer.Option(min=2_000, max=100_000, help="About how many events a day has.")
    ] = EVENTS_A_DAY,
    seconds: Annotated[float, typer.Option(min=1, help="Wall time for the day, if the pipeline follows.")] = 18.0,
    as_json: JsonOption = False,
) -> None:
    """Play a day of several tenants through the whole pipeline and say what was found.

    Everything stored is in a temporary folder, removed at the end, unless --data or --keep is given. Fails when
    something planted was not found, something was invented, or `verify` differs.
    """
    if importlib.util.find_spec("faker") is None:
        raise UsageError("The demo needs Faker: pip install 'tokentrail-pipeline[demo,embedded]'.")
    signal.signal(signal.SIGTERM, _interrupt)
    seed = random.SystemRandom().randrange(100_000) if seed is None else seed
    folder = data.expanduser().resolve() if data else Path(tempfile.mkdtemp(prefix="tokentrail-demo-"))
    # The stages are processes of their own and read these.
    os.environ["TOKENTRAIL_TICKS"] = "off"
    if patterns_only:
        os.environ["TOKENTRAIL_NER"] = "false"
    stays = data is not None or keep
    try:
        holds = show(draw(seed, events), folder, seconds, as_json)
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)
    if stays:
        print(f"What was stored stays in {folder}: tokentrail up --data {folder}", file=sys.stderr)
    raise typer.Exit(0 if holds else 1)


def show(scenario: Scenario, folder: Path, seconds: float, as_json: bool) -> bool:
    """From an empty folder to the verdict and everything stopped; True when everything holds."""
    from rich.console import Console

    from demo.view import report
    from pipeline.cli.demo_play import Play, write
    from pipeline.cli.demo_result import collect
    from pipeline.cli.supervisor import Supervisor

    clock = Phases()
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console.width = WIDTH
    # Yesterday: event time is never ahead of the broker's.
    midnight_ms = int(time.time() * 1000) // DAY_MS * DAY_MS - DAY_MS
    console.print(f"Seed {scenario.seed}: a day of {', '.join(tenant.name for tenant in scenario.tenants)}.")
    with ThreadPoolExecutor(3, thread_name_prefix="demo") as pool:
        days = pool.submit(write, scenario, midnight_ms)
        servers = start_servers(folder)
        try:
            settings = prepare(folder, None)
            supervisor = Supervisor(settings, folder)
            play = Play(scenario, settings, supervisor, midnight_ms, console)
            supervisor.start()
            try:
                clock.end("start")
                play.run(pool, days, seconds)
                clock.end("play")
                result: dict[str, Any] = collect(play, folder)
                clock.end("compare")
            finally:
                play.stop()
                supervisor.stop()
        finally:
            servers.stop()
    clock.end("stop")
    result["seconds"], result["phases_s"] = clock.total_s, clock.phases_s
    if as_json:
        print(json.dumps(result))
    else:
        report(console, result)
    return bool(result["holds"])


class Phases:
    """How long each part took, in seconds."""

    def __init__(self) -> None:
        self._begun_s = self._last_s = time.monotonic()
        self.phases_s: dict[str, float] = {}

    def end(self, phase: str) -> None:
        """The phase that began at the end of the one before is over."""
        now_s = time.monotonic()
        self.phases_s[phase] = round(now_s - self._last_s, 1)
        self._last_s = now_s

    @property
    def total_s(self) -> float:
        """From the beginning to the end of the last phase."""
        return round(self._last_s - self._begun_s, 1)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

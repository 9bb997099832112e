"""Plays a day into running servers and stages, and waits for the end of all work.

Producer, a subscriber of `llm.anomalies` and the live view, side by side. Starts and stops no server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from rich.live import Live

from demo.desk import Body
from demo.lag import Lag
from demo.player import Player
from demo.scenario import DAY_MS, HOUR_MS, Scenario
from demo.traffic import day
from demo.view import Picture, line, live, told
from pipeline.cli.context import settings_for
from pipeline.cli.listen import Listener, first_of_each
from pipeline.cli.reader import Reader
from pipeline.cli.sender import Silent
from pipeline.errors import RetryableError, TokentrailError, UsageError
from schemas.anomaly import Anomaly

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.cli.supervisor import Supervisor
    from pipeline.settings import Settings

# The day before serves as history: it is played as fast as the pipeline follows, with fewer ticks.
HISTORY_S: Final = 3.0
HISTORY_TICK_MINUTES: Final = 10
SETTLE_S: Final = 120.0
LOOK_S: Final = 0.5
LINE_EVERY_MS: Final = 3 * HOUR_MS

Days = tuple[list[Body], list[Body]]


def write(scenario: Scenario, midnight_ms: int) -> Days:
    """The events of the day before and of the day."""
    return day(scenario, midnight_ms, before=1), day(scenario, midnight_ms)


class Play:
    """One play.

    Args:
        scenario: What is played.
        settings: The installation.
        supervisor: Of its stages; looked after while the play goes on.
        midnight_ms: Beginning of the played day, milliseconds since 1970.
        console: Where the view goes.
    """

    def __init__(
        self, scenario: Scenario, settings: Settings, supervisor: Supervisor, midnight_ms: int, console: Console
    ) -> None:
        self.scenario = scenario
        self.settings = settings
        self.midnight_ms = midnight_ms
        self.received: list[tuple[float, Anomaly]] = []
        self.events: list[Body] = []
        self.played_s = 0.0
        self._supervisor = supervisor
        self._console = console
        self._stopped = threading.Event()
        self._raw = settings.topic("calls.raw")
        kafka = settings.librdkafka(logger=Silent())
        self._lag = Lag(kafka)
        self._clean = settings.topic("calls")
        self.player = Player(kafka, self._raw, settings.partitions, self._worked_off)
        self.picture = Picture(scenario.seed, midnight_ms)
        self._told_ms = midnight_ms - DAY_MS
        self._shown = 0

    def run(self, pool: ThreadPoolExecutor, days: Future[Days], seconds: float) -> None:
        """Play both days and wait until every stage has worked everything off.

        Raises:
            UsageError: The folder holds a play already.
            TokentrailError: A stage cannot be kept alive, or does not come to an end.
        """
        if self._lag.records(self._raw):
            raise UsageError("The folder holds events already; a day is played into a new one. Name another --data.")
        listening = pool.submit(self._listen)
        self.picture.note = "starting the stages"
        playing = pool.submit(self._play, days, seconds)
        reader = Reader(settings_for(self.settings.data_dir, user="auditor"))
        if self._console.is_terminal:
            with Live(live(self.picture), console=self._console, refresh_per_second=5) as screen:
                for _ in self._watch(reader, playing, listening):
                    screen.update(live(self.picture))
        else:
            for _ in self._watch(reader, playing, listening):
                self._tell()

    def stop(self) -> None:
        """End the threads of the play."""
        self._stopped.set()
        self.player.stopped.set()

    def _play(self, days: Future[Days], seconds: float) -> None:
        before, self.events = days.result()
        begun_s = time.monotonic()
        self.player.play(before, self.midnight_ms - DAY_MS, self.midnight_ms, HISTORY_S, HISTORY_TICK_MINUTES)
        self.player.play(self.events, self.midnight_ms, self.midnight_ms + DAY_MS, seconds)
        self.played_s = round(time.monotonic() - begun_s, 1)

    def _watch(self, reader: Reader, playing: Future[None], listening: Future[None]) -> Iterator[None]:
        """Yields about twice a second, until everything is played and worked off."""
        deadline_s, done = 0.0, 0
        while done < 2:
            if (code := self._supervisor.tend()) is not None:
                raise TokentrailError(f"A stage ended again and again (exit code {code}); see {self._logs()}.")
            if listening.done():
                listening.result()
            self._look(reader)
            if playing.done():
                playing.result()
                deadline_s = deadline_s or time.monotonic() + SETTLE_S
                behind = self._behind()
                self.picture.note = "waiting for " + ", ".join(behind) if behind else "done"
                done = 0 if behind else done + 1
                if time.monotonic() > deadline_s:
                    raise TokentrailError(f"After {SETTLE_S:.0f} s still behind: {behind}; see {self._logs()}.")
            elif self.picture.stored:
                self.picture.note = ""
            yield
            time.sleep(LOOK_S)

    def _look(self, reader: Reader) -> None:
        """Bring the picture up to date."""
        picture = self.picture
        picture.now_ms, picture.sent = self.player.now_ms, self.player.events
        found: dict[str, Anomaly] = {}
        for _, anomaly in list(self.received):
            found.setdefault(anomaly.id, anomaly)
        picture.anomalies = list(found.values())
        rows = reader.ask(
            """WITH fromUnixTimestamp64Milli({midnight_ms:Int64}, 'UTC') AS begin
            SELECT tenant, count(), countIf(ts >= begin), toFloat64(sumIf(cost_usd, ts >= begin))
            FROM calls GROUP BY tenant""",
            {"midnight_ms": self.midnight_ms},
        ).rows
        picture.costs = {tenant: (cost or 0.0, calls) for tenant, _, calls, cost in rows}
        ((others,),) = reader.ask("SELECT (SELECT count() FROM evaluations) + (SELECT count() FROM feedback)").rows
        picture.stored = sum(count for _, count, _, _ in rows) + others

    def _tell(self) -> None:
        """Say what is new, where there is no terminal to draw on."""
        for anomaly in self.picture.anomalies[self._shown :]:
            self._console.print(told(anomaly, self.midnight_ms), soft_wrap=True, highlight=False)
        self._shown = len(self.picture.anomalies)
        if self.picture.now_ms >= self._told_ms + LINE_EVERY_MS:
            self._told_ms = self.picture.now_ms
            self._console.print(line(self.picture), soft_wrap=True, highlight=False)

    def _listen(self) -> None:
        """A plain subscriber, as anybody can have one."""
        with Listener(self.settings, 0) as listener:

            def values() -> Iterator[bytes]:
                while not self._stopped.is_set():
                    yield from listener.records(time.monotonic() + 0.3)

            for _, anomaly in first_of_each(values()):
                if anomaly is not None:
                    self.received.append((time.monotonic(), anomaly))

    def _worked_off(self) -> int:
        """Raw records with a clean record; the topics are one to one."""
        return self._lag.records(self._clean)

    def _behind(self) -> dict[str, int]:
        """Records that a stage has still before it, by stage; stages that have none are left out."""
        from pipeline.transport.losses import SOURCES

        settings = self.settings
        try:
            found = {
                stage: self._lag.behind(settings.group(stage), settings.topic(source))
                for stage, source in SOURCES.items()
            }
        except Exception as error:
            raise RetryableError(f"Kafka does not say how far the stages are: {error}.") from error
        return {stage: count for stage, count in found.items() if count}

    def _logs(self) -> Any:
        return None if self.settings.data_dir is None else self.settings.data_dir / "logs"

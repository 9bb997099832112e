"""What is seen of a played day: a live picture on a terminal, lines elsewhere, and the report at the end.

Values in, text out: knows neither Kafka nor ClickHouse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.scenario import DAY_MS, MINUTE_MS
from schemas.anomaly import Anomaly

SHOWN: Final = 9
BAR: Final = 40
NAMES: Final = {
    "loop": "an agent stuck in a loop",
    "cost": "a tenant's cost multiplied, over its features",
    "slow": "a provider's model slowed down",
}


@dataclass(slots=True)
class Picture:
    """What is known at one moment of the play.

    Attributes:
        seed: Of the scenario.
        midnight_ms: Beginning of the played day.
        now_ms: Simulated time, milliseconds since 1970; 0 before anything is played.
        sent: Events sent.
        stored: Rows in ClickHouse.
        costs: Dollars of the played day and calls by tenant.
        anomalies: First revision of each finding, newest last.
        note: What is being done.
    """

    seed: int
    midnight_ms: int
    now_ms: int = 0
    sent: int = 0
    stored: int = 0
    costs: dict[str, tuple[float, int]] = field(default_factory=dict)
    anomalies: list[Anomaly] = field(default_factory=list)
    note: str = ""

    @property
    def clock(self) -> str:
        """Simulated time of day, the day before marked."""
        if not self.now_ms:
            return "--:--"
        at_ms = self.now_ms - self.midnight_ms
        before = "the day before, " if at_ms < 0 else ""
        if at_ms >= DAY_MS:
            return "24:00"
        return before + time_of_day(at_ms)


def time_of_day(at_ms: float) -> str:
    """Milliseconds of the day as hours and minutes."""
    minutes = int(at_ms // MINUTE_MS) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def live(picture: Picture) -> RenderableType:
    """The picture for a terminal."""
    done = max(0.0, min(1.0, (picture.now_ms - picture.midnight_ms) / DAY_MS)) if picture.now_ms else 0.0
    filled = round(done * BAR)
    head = Text.assemble(
        ("tokentrail demo", "bold"), f"  seed {picture.seed}   ",
        (picture.clock, "bold cyan"), f"   {'━' * filled}{'╌' * (BAR - filled)}   ",
        f"{picture.sent:,} events sent, {picture.stored:,} rows stored   ", (picture.note, "dim"),
    )  # fmt: skip
    costs = Table(box=None, pad_edge=False, header_style="dim")
    costs.add_column("tenant")
    costs.add_column("calls", justify="right")
    costs.add_column("cost", justify="right")
    costs.add_column("")
    most = max((cost for cost, _ in picture.costs.values()), default=0.0)
    for tenant, (cost, calls) in sorted(picture.costs.items()):
        costs.add_row(
            tenant, f"{calls:,}", f"${cost:,.2f}", Text("▇" * round(20 * cost / most if most else 0), "green")
        )
    found = Table(box=None, pad_edge=False, header_style="dim")
    found.add_column("at", min_width=5, no_wrap=True)
    found.add_column("anomaly", min_width=13, no_wrap=True)
    found.add_column("what", overflow="ellipsis", no_wrap=True)
    for one in picture.anomalies[-SHOWN:]:
        at = time_of_day(one.detected_at - picture.midnight_ms)
        found.add_row(at, Text(one.rule, "bold red"), one.why)
    if not picture.anomalies:
        found.add_row("", "", Text("none so far", "dim"))
    return Group(
        head,
        Panel(costs, title="cost of the day", title_align="left"),
        Panel(found, title="llm.anomalies", title_align="left"),
    )


def line(picture: Picture) -> str:
    """The picture in one line."""
    spent = sum(cost for cost, _ in picture.costs.values())
    return (
        f"{picture.clock:>21}  {picture.sent:6,} events sent  {picture.stored:6,} rows stored  "
        f"${spent:8,.2f}  {len(picture.anomalies)} anomalies"
    )


def told(anomaly: Anomaly, midnight_ms: int) -> str:
    """One anomaly in one line."""
    at = time_of_day(anomaly.detected_at - midnight_ms)
    return f"{at:>21}  {anomaly.severity} {anomaly.rule}: {anomaly.why}"


def report(console: Console, result: Mapping[str, Any]) -> None:
    """The end of the demo: planted against found, rows, a sample, the verdict of `verify`."""
    console.print()
    planted = Table(title="Planted and found", title_justify="left", header_style="dim")
    for name in ("planted", "subject", "from", "to", "found as", "after (event time)", "after (wall time)"):
        planted.add_column(name)
    for one in result["planted"]:
        cells = [NAMES[one["kind"]], _named(one["subject"]), one["start"][11:16], one["end"][11:16]]
        if one["rule"] is None:
            planted.add_row(*cells, Text("MISSED", "bold red"))
        else:
            delays = f"{one['delay_event_s'] / 60:.1f} min", f"{one['delay_wall_s']:.1f} s"
            planted.add_row(*cells, Text(one["rule"], "green"), *delays)
    if result["planted"]:
        console.print(planted)
    else:
        console.print("This seed plants nothing: nothing must be found.")
    for found in result["explained"]:
        console.print(Text(f"  follows from it: {_line(found)}", "dim"), soft_wrap=True)
    console.print(f"Invented: {len(result['invented'])}", style="bold red" if result["invented"] else "")
    for found in result["invented"]:
        console.print(Text(f"  {_line(found)}", "red"), soft_wrap=True)
    console.print("Rows in ClickHouse: " + ", ".join(f"{name} {count:,}" for name, count in result["rows"].items()))
    if (sample := result["sample"]) is not None:
        console.print("What a person wrote, and what is stored of it:")
        console.print(Text(f"  - {sample['sent']}", "red"), soft_wrap=True)
        console.print(Text(f"  + {sample['stored']}", "green"), soft_wrap=True)
    verify = result["verify"]
    console.print(f"verify: {verify['said']}", style="" if verify["holds"] else "bold red")
    verdict = "The findings are not the truth."
    if all(one["rule"] for one in result["planted"]) and not result["invented"]:
        verdict = "Everything planted was found and nothing was invented."
        if not result["planted"]:
            verdict = "Nothing was planted and nothing was invented."
    console.print(f"{verdict} {result['seconds']} s in all.", style="bold" if result["holds"] else "bold red")


def _line(found: Mapping[str, Any]) -> str:
    return f"{found['rule']} {_named(found['subject'])} at {found['opened_at'][11:16]}: {found['why']}"


def _named(subject: Mapping[str, str]) -> str:
    return " ".join(value for name, value in subject.items() if name != "run")

"""What a rule is: a frozen recipe and a pure evaluation that says what is wrong now, or that nothing is.

    evaluate(what is known now, firing, memory) -> Finding | Undecided | None

`firing` tells the rule that its finding for this subject is open, so that it applies the lower bound of its hysteresis;
`memory` is what the rule froze when it opened. A rule has no clock, no log and no identity: `lifecycle` turns findings
into anomalies.

A recipe is what can be set of a rule, and nothing else: its fields are the keys of its table in the rules file, their
defaults are the rule in force where no file says otherwise. A rule is one file with one recipe, and one line in
`registry`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from schemas.anomaly import Severity, Span, SuggestedControl

if TYPE_CHECKING:
    from pipeline.detection.scene import Scene
    from pipeline.windows.timeline import Timeline

Tier = Literal[1, 2, 3]

MINUTE_MS: Final = 60_000

# What fields of recipes may be; the reasons that a rules file is refused with come from here.
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Ratio = Annotated[float, Meta(gt=1)]


# What a rule froze when its finding opened, and is given back while it is open; numbers and short texts.
Memory = dict[str, Any]


class Undecided:
    """What a rule says of an open finding when there is too little to judge by: it stays as it is."""


UNDECIDED: Final = Undecided()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says is wrong with one subject.

    Attributes:
        window: The stretch of event time under test, in ms.
        observed: What was measured, in `unit`.
        baseline: What was to be expected, in `unit`; None where there is no such thing.
        threshold: From where it is wrong, in `unit`.
        unit: `usd`, `ms`, `repeats`, `calls`.
        severity: How bad.
        why: One plain sentence with numbers.
        began_at: Event time in ms at which it seems to have begun.
        evidence: Positions or ids of calls.
        details: Numbers that help to look further.
        memory: What the rule wants to be given back while the finding is open; its baseline, frozen.
        suggested_control: What would stop the harm.
        tier: Where it is another than the rule's.
    """

    window: Span
    observed: float
    baseline: float | None
    threshold: float | None
    unit: str
    severity: Severity
    why: str
    began_at: int
    evidence: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)
    suggested_control: SuggestedControl | None = None
    tier: Tier | None = None

    @property
    def ratio(self) -> float | None:
        """Observed over baseline."""
        return self.observed / self.baseline if self.baseline else None


@dataclass(frozen=True, slots=True)
class Life:
    """How findings of a rule become anomalies.

    Attributes:
        rule: Name of the rule.
        tier: 1 page, 2 ticket, 3 review.
        hold_ms: How long a finding must stand before it is opened.
        pause_ms: A finding that is gone for less than this meanwhile still stands.
        clear_ms: How long it must be gone before it is resolved.
        rejoin_ms: A finding that comes back this soon after its resolution is the same one.
        grow: An open finding is published again when its ratio has grown by this factor.
        longest_ms: After this the finding is resolved as the new normal.
        shadow: Findings are recorded, and nobody is told.
    """

    rule: str
    tier: Tier
    hold_ms: int = 0
    pause_ms: int = 360_000
    clear_ms: int = 600_000
    rejoin_ms: int = 1_800_000
    grow: float = 1.5
    longest_ms: int = 24 * 3_600_000
    shadow: bool = False

    @property
    def runbook(self) -> str:
        """Where the rule's page is."""
        return f"docs/runbooks/{self.rule}.md"


class Taint:
    """What kind of finding covered an hour, as bits: it is no baseline for findings of the same kind. 0: for none."""

    NONE: Final = 0
    COST: Final = 1
    LATENCY: Final = 2
    FAILURES: Final = 4
    TRAFFIC: Final = 8
    ANSWERS: Final = 16
    QUESTIONS: Final = 32


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every rule can be told. A rule's own recipe adds its bounds.

    Attributes:
        enabled: Whether the rule is asked at all.
        shadow: Findings are recorded and can be seen, and nobody is told.
        hold_minutes: How long a finding must stand before it is opened.
        pause_minutes: A finding that is gone for less than this meanwhile still stands.
        clear_minutes: How long it must be gone before it is resolved.
        rejoin_minutes: A finding that comes back this soon after its resolution is the same one.
        grow: An open finding is published again when its ratio has grown by this factor.
        longest_hours: After this the finding is resolved as the new normal.
    """

    rule: ClassVar[str]
    tier: ClassVar[Tier]

    enabled: bool = True
    shadow: bool = False
    hold_minutes: NotNegative = 0.0
    pause_minutes: NotNegative = 6.0
    clear_minutes: NotNegative = 10.0
    rejoin_minutes: NotNegative = 30.0
    grow: Ratio = 1.5
    longest_hours: Positive = 24.0

    @property
    def life(self) -> Life:
        """How its findings become anomalies."""
        return Life(
            self.rule,
            self.tier,
            hold_ms=round(self.hold_minutes * MINUTE_MS),
            pause_ms=round(self.pause_minutes * MINUTE_MS),
            clear_ms=round(self.clear_minutes * MINUTE_MS),
            rejoin_ms=round(self.rejoin_minutes * MINUTE_MS),
            grow=self.grow,
            longest_ms=round(self.longest_hours * 60 * MINUTE_MS),
            shadow=self.shadow,
        )


class KeyRecipe(Recipe, frozen=True, kw_only=True):
    """What rules of `judge` can be told: those that look at one key of the store at a time.

    Attributes:
        warm_up_hours: Hours that must have passed since the key was first seen; before that there is too little to
            judge by.
        warm_up_calls: Calls that must be known of it.
    """

    # Minutes between two looks at a key that has calls; a multiple of five looks at the end of a block of five.
    every: ClassVar[int] = 5
    taint: ClassVar[int] = Taint.NONE
    # Whether it is asked in the middle of a minute too, whenever a key has changed.
    at_once: ClassVar[bool] = False
    # Whether a minute is judged again when something has come for it late.
    late: ClassVar[bool] = False
    # Whether it is asked about keys that have no calls.
    of_silence: ClassVar[bool] = False

    warm_up_hours: NotNegative = 0.0
    warm_up_calls: Count = 0

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | Undecided | None:
        """Judge a key.

        Args:
            scene: The key, and what is known of it and around it.
            firing: Whether a finding of this key is open.
            memory: What the open finding froze.

        Returns:
            What is wrong; None when nothing is; UNDECIDED when an open finding can neither be upheld nor given up.
        """
        raise NotImplementedError

    def may_be_silent(self, timeline: Timeline, minute: int) -> bool:
        """Whether a rule of silence wants to look at a key that had no call in the block that ends with a minute."""
        return timeline.last_minute >= 0

    def lacks(self, scene: Scene) -> str:
        """What there is too little of to judge a key by, as in `5 of 24 hours`; empty when there is enough.

        Asked once in a while, at the end of an hour; until it is empty the rule is not asked about the key at all.
        """
        age, calls = scene.age_hours(), scene.known_calls()
        if age < self.warm_up_hours:
            return f"{age:.0f} of {self.warm_up_hours:g} hours"
        if calls < self.warm_up_calls:
            return f"{calls:,.0f} of {self.warm_up_calls:,} calls"
        return ""

    @property
    def warms_up(self) -> bool:
        """Whether there may be too little to judge by."""
        return bool(self.warm_up_hours or self.warm_up_calls) or type(self).lacks is not KeyRecipe.lacks

    def explain(self, scene: Scene, finding: Finding) -> dict[str, Any]:
        """Details that are worth their making only for a finding that is told."""
        return {}

"""One cause, one finding: what explains what, and what takes whose place."""

from __future__ import annotations

import pytest

from pipeline.detection.casebook import Casebook
from pipeline.detection.causes import FAMILIES, PAGES
from pipeline.detection.registry import RULES
from pipeline.detection.rule import Finding, Life, Tier
from pipeline.windows.rolling import Store
from schemas.anomaly import Anomaly, Span

MODEL = ("provider", "anthropic", "claude-haiku-4-5")
OTHER = ("provider", "anthropic", "claude-sonnet-4-5")
MINUTE_MS = 60_000


def finding(minute: int) -> Finding:
    return Finding(Span(0, minute * MINUTE_MS), 2.0, 1.0, 2.0, "ms", "SEV2", "It is slow.", 0)


class Told:
    """A casebook, and what it published."""

    def __init__(self) -> None:
        self.book = Casebook(Store(100))
        self.minute = 0

    def report(self, rule: str, tier: Tier, key: tuple[str, ...] = MODEL) -> list[Anomaly]:
        self.minute += 1
        now_ms = self.minute * MINUTE_MS
        return self.book.report(Life(rule, tier), 0, key, finding(self.minute), self.minute, now_ms)


def test_the_pages_are_those_of_the_registry() -> None:
    tiers = {entry.name: entry.recipe.tier for entry in RULES}
    assert {rule for rules in FAMILIES.values() for rule in rules if tiers[rule] == 1} == PAGES


def test_a_page_takes_the_place_of_a_ticket_that_was_there_first() -> None:
    told = Told()
    (ticket,) = told.report("provider.degraded", 2)
    page, closed = told.report("latency.p95", 1)
    assert (page.rule, page.state, page.tier) == ("latency.p95", "open", 1)
    assert (closed.id, closed.state) == (ticket.id, "resolved") and closed.details["superseded_by"] == page.id


def test_a_ticket_is_explained_by_the_page_that_stands() -> None:
    told = Told()
    (page,) = told.report("latency.p95", 1)
    assert told.report("provider.degraded", 2) == []
    (update,) = told.book.joined(told.minute * MINUTE_MS + 400_000)
    assert update.id == page.id and list(update.details["also"]) == ["provider.degraded of claude-haiku-4-5"]


@pytest.mark.parametrize(("first", "second"), [("latency.p95", "error.rate"), ("error.rate", "latency.p95")])
def test_of_two_pages_at_one_key_the_first_stays(first: str, second: str) -> None:
    told = Told()
    assert len(told.report(first, 1)) == 1
    assert told.report(second, 1) == []


def test_a_ticket_on_one_model_hides_no_page_on_another_of_its_provider() -> None:
    told = Told()
    assert len(told.report("provider.degraded", 2)) == 1
    assert [one.rule for one in told.report("latency.p95", 1, OTHER) if one.state == "open"] == ["latency.p95"]

"""From findings to anomalies: one identity, revisions that count up, hysteresis in time."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.detection.lifecycle import Case, identity, step
from pipeline.detection.rule import Finding, Life
from schemas.anomaly import Anomaly, Severity, Span

LIFE = Life("cost.spike", 1, clear_ms=600_000, rejoin_ms=1_800_000, grow=1.5, longest_ms=86_400_000)
SUBJECT = {"tenant": "acme"}
MINUTE = 60_000


def finding(ratio: float = 2.0, severity: Severity = "SEV2", start: int = 0) -> Finding:
    return Finding(Span(start, start + 10), 2.0 * ratio, 2.0, 3.5, "usd", severity, f"{ratio} times", began_at=5)


class Story:
    """Steps of one case."""

    def __init__(self, life: Life = LIFE) -> None:
        self.life = life
        self.case: Case | None = None
        self.told: list[Anomaly] = []

    def at(self, minute: int, found: Finding | None) -> Anomaly | None:
        self.case, anomaly = step(self.life, self.case or Case(), SUBJECT, found, minute * MINUTE)
        if anomaly is not None:
            self.told.append(anomaly)
        # A case must survive a snapshot at any time.
        if self.case is not None:
            self.case = msgspec.msgpack.decode(msgspec.msgpack.encode(self.case), type=Case)
        return anomaly


@pytest.fixture
def story() -> Story:
    return Story()


def test_the_same_finding_has_the_same_id_and_another_window_another() -> None:
    assert identity("r", {"a": "1", "b": "2"}, 5) == identity("r", {"b": "2", "a": "1"}, 5)
    assert len({identity("r", {"a": "1"}, 5), identity("r", {"a": "1"}, 6), identity("q", {"a": "1"}, 5)}) == 3


def test_a_finding_is_told_once_and_again_only_when_it_grows_or_worsens(story: Story) -> None:
    story.at(0, finding(2.0))
    for minute in range(1, 30):
        story.at(minute, finding(2.9))
    story.at(30, finding(3.0))
    story.at(31, finding(3.1, "SEV1"))
    story.at(32, finding(3.1, "SEV1"))
    assert [(one.state, one.revision, one.ratio, one.severity) for one in story.told] == [
        ("open", 1, 2.0, "SEV2"), ("update", 2, 3.0, "SEV2"), ("update", 3, 3.1, "SEV1")]  # fmt: skip
    assert len({one.id for one in story.told}) == 1
    assert {one.opened_at for one in story.told} == {5}


def test_a_short_pause_is_no_resolution(story: Story) -> None:
    story.at(0, finding())
    for minute in range(1, 40):
        story.at(minute, finding() if minute % 9 == 0 else None)
    assert len(story.told) == 1


def test_it_is_resolved_after_it_was_gone_for_long_enough(story: Story) -> None:
    story.at(0, finding())
    for minute in range(1, 11):
        assert story.at(minute, None) is None
    resolved = story.at(11, None)
    assert resolved is not None
    assert (resolved.state, resolved.revision, resolved.detected_at) == ("resolved", 2, 11 * MINUTE)
    assert resolved.suggested_control is None
    assert "2.0 times" in resolved.why


def test_one_that_comes_back_soon_is_the_same_finding_and_later_a_new_one(story: Story) -> None:
    story.at(0, finding())
    for minute in range(1, 12):
        story.at(minute, None)
    story.at(20, finding(start=99))
    for minute in range(21, 32):
        story.at(minute, None)
    story.at(90, None)
    story.at(95, finding(start=199))
    assert [(one.state, one.revision) for one in story.told] == [
        ("open", 1), ("resolved", 2), ("update", 3), ("resolved", 4), ("open", 1)]  # fmt: skip
    assert len({one.id for one in story.told}) == 2


def test_a_finding_may_have_to_stand_before_it_is_told() -> None:
    story = Story(Life("r", 1, hold_ms=600_000))
    story.at(100, finding())
    for minute in range(101, 108):
        story.at(minute, None)
    # It was gone for too long: this is another one, and short pauses do not end it.
    for minute in (108, 111, 113, 117):
        story.at(minute, finding())
        story.at(minute + 1, None)
    assert story.told == []
    assert story.at(118, finding()) is not None


def test_what_stays_for_a_day_is_the_new_normal_and_is_not_told_again(story: Story) -> None:
    for minute in range(0, 3 * 1440, 5):
        story.at(minute, finding())
    assert [one.state for one in story.told] == ["open", "resolved"]
    assert "new normal" in story.told[-1].why
    for minute in range(3 * 1440, 3 * 1440 + 60):
        story.at(minute, None)
    assert story.case is None, "when it has gone, the next one is new"


def test_a_rule_that_leaves_shadow_tells_what_it_had_only_recorded() -> None:
    story = Story(Life("r", 1, shadow=True))
    story.at(0, finding())
    story.life = Life("r", 1)
    story.at(1, finding())
    story.at(2, finding())
    assert [(one.state, one.shadow, one.revision) for one in story.told] == [
        ("open", True, 1), ("resolved", True, 2), ("open", False, 1)]  # fmt: skip
    assert len({one.id for one in story.told}) == 2

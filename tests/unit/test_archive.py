"""Findings as rows: their life is that of the policy in force at their time, whenever they are archived."""

import msgspec

from agents.archive import Archived, life_of, rows_of
from pipeline.control.policy import Policies
from schemas.anomaly import Anomaly, Span
from schemas.control import EFFECT_DELAY_MS, Control
from schemas.position import Position
from schemas.window import Late, Window, Windows

CHANGED = 1_795_000_000_000
POLICIES = Policies(
    [
        (1, Control(kind="policy", version=1, body={"tenant": {"acme": {"anomalies_days": 30}}})),
        (CHANGED - EFFECT_DELAY_MS, Control(kind="policy", version=2, body={"default": {"anomalies_days": 7}})),
    ]
)


def days(topic, record):
    ((_, rows),) = rows_of([Archived(topic, msgspec.json.encode(record))], life_of(POLICIES)).items()
    return [row["retention_days"] for row in rows]


def window(start):
    return Window(dimension="tenant", subject={}, size_s=60, start=start, revision=1)


def anomaly(tenant, at_ms):
    return Anomaly(
        "a", "cost.spike", 1, "SEV1", "open", 1, {"tenant": tenant}, Span(0, 1), None, None, None, None, "USD", (), "",
        "", at_ms, CHANGED + 1,
    )  # fmt: skip


def test_a_window_lives_as_the_policy_at_its_beginning_says_whenever_it_closed():
    closed = Windows("acme", CHANGED + 10, (window(CHANGED - 1), window(CHANGED)))
    assert days("windows", closed) == [30, 7]
    assert days("windows", Windows("", CHANGED + 10, (window(CHANGED - 1),))) == [400], "a provider's are nobody's"


def test_every_revision_of_a_finding_lives_as_long_as_the_first():
    assert days("anomalies", anomaly("acme", CHANGED - 1)) == [30]
    assert days("anomalies", anomaly("acme", CHANGED)) == [7]
    assert days("anomalies", anomaly("beta", CHANGED - 1)) == [400]


def test_a_late_event_lives_by_when_it_was_received():
    assert days("windows", Late("acme", Position(1, 0, 7), CHANGED - 99, CHANGED, 99)) == [7]


def test_a_control_is_a_row_with_who_set_it_and_lives_by_the_policy_at_its_own_time():
    policies = Policies([(1, Control(kind="policy", version=1, body={"tenant": {"acme": {"controls_days": 90}}}))])
    switch = Control(kind="switch", selector={"tenant": "acme", "feature": "chat"}, owner="ann", body={"off": True})
    records = [
        Archived("controls", msgspec.json.encode(one), offset, CHANGED)
        for offset, one in enumerate((switch, Control(kind="budget", owner="finance", body={"day_usd": 5})))
    ]
    (mine, everybodys) = rows_of(records, life_of(policies))["controls_log"]
    assert (mine["tenant"], mine["owner"], mine["offset"], mine["retention_days"]) == ("acme", "ann", 0, 90)
    assert msgspec.json.decode(mine["body"]) == {"off": True} and mine["appended_at"] == "1795000000.000"
    assert (everybodys["tenant"], everybodys["retention_days"]) == ("", 3_650)

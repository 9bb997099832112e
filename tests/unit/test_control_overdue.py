"""Which stored rows a shorter policy ends before their stamp does."""

from pipeline.audit.retention import ends_at_ms
from pipeline.control.overdue import Due, Group, days, due, due_ms
from pipeline.control.policy import parse
from schemas.ledger import Cell

MONDAY = "2026-11-16"
CALLS, TEXT = Cell("calls", 90, MONDAY), Cell("call_content", 30, MONDAY)


def group(cell=CALLS, tenant="acme", environment="prod"):
    return Group(cell, tenant, environment, 10, 0)


def ends(table, life):
    return ends_at_ms(Cell(table, life, MONDAY))


def test_rows_go_when_their_week_would_have_gone_with_the_shorter_life():
    policy = parse({"tenant": {"acme": {"metadata_days": 20}}})
    other = group(tenant="beta")
    assert due(policy, [group(), other], ends("calls", 20) - 1) == Due((), ())
    assert due(policy, [group(), other], ends("calls", 20)) == Due((), (group(),))


def test_a_cell_of_which_nothing_may_stay_goes_whole():
    policy = parse({"default": {"metadata_days": 20}})
    assert due(policy, [group(), group(tenant="beta")], ends("calls", 20)) == Due((CALLS,), ())


def test_a_longer_policy_keeps_nothing_longer_that_is_stored():
    assert due_ms(parse({"default": {"metadata_days": 3000}}), group()) == ends_at_ms(CALLS)


def test_what_goes_by_its_stamp_is_not_the_policys_business():
    assert due(parse({"default": {"metadata_days": 1}}), [group()], ends_at_ms(CALLS)) == Due((), ())


def test_where_no_text_is_kept_any_more_it_goes_at_once():
    for body in ({"default": {"text_days": 0}}, {"default": {"content": "none"}}):
        assert due(parse(body), [group(TEXT)], 1) == Due((TEXT,), ())
    assert due(parse({"default": {"content": "hash"}}), [group(TEXT)], 1) == Due((), ())


def test_a_row_that_knows_no_environment_has_the_longest_life_that_any_gives_it():
    policy = parse({"default": {"metadata_days": 30}, "environment": {"dev": {"metadata_days": 2}}})
    letters = Cell("dead_letters", 90, MONDAY)
    assert days(policy, group(letters, environment=None)) == 30
    assert days(policy, group(environment="dev")) == 2


def test_findings_know_no_environment():
    policy = parse({"tenant": {"acme": {"anomalies_days": 9}}, "environment": {"dev": {"metadata_days": 2}}})
    assert days(policy, group(Cell("windows", 400, MONDAY), environment=None)) == 9

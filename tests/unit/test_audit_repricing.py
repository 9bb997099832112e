"""What another book makes of stored calls, and that every changed, missing or added repricing is named."""

import pytest

from pipeline.audit.lawful import Lawful
from pipeline.audit.repriced import check, strangers
from pipeline.audit.repricing import NUMBER, Call, Difference, Landed, made
from pipeline.audit.rows import week
from pipeline.audit.tables import OFFSET, REPRICINGS
from pipeline.pricing import Overrides, PriceBook
from schemas.ledger import Cell, Repricing

NOW = 1_795_000_000_000
KEY = b"k" * 32
CELL = Cell("repricings", 30, week(NOW))
BOOK = PriceBook(
    Overrides(
        'name = "b"\n[[price]]\nprovider = "openai"\nmodel = "gpt-4o"\nusd_per_mtok = { input = 1.0, output = 10.0 }'
    )
)
DOLLAR = 10**9


def call(offset, *, cost=0, source="computed", model="gpt-4o", list_cost=None, **changes):
    plain = Call(
        offset, "acme", NOW, NOW, "openai", model, "", 1_000_000, None, None, 100_000, cost,
        cost if list_cost is None else list_cost, source,
    )  # fmt: skip
    return plain._replace(**changes)


def test_a_call_costs_what_the_book_says_and_what_was_reported_stays():
    found = Difference()
    assert found.take(BOOK, call(1, cost=3 * DOLLAR))[1:] == (2 * DOLLAR, 2 * DOLLAR)
    assert found.take(BOOK, call(2, cost=7, source="reported", list_cost=5))[1:] == (7, 2 * DOLLAR)
    assert found.take(BOOK, call(3, cost=2 * DOLLAR)) is None, "it costs the same"
    assert found.total.changed == 2 and found.total.delta == -DOLLAR


def test_a_known_price_is_not_replaced_by_an_unknown_one_and_an_unknown_one_is_found():
    found = Difference()
    assert found.take(BOOK, call(1, cost=5, model="unheard-of")) is None
    assert found.take(BOOK, call(2, cost=None, source="unknown"))[1:] == (2 * DOLLAR, 2 * DOLLAR)
    assert found.take(BOOK, call(3, cost=None, source="unknown", model="unheard-of")) is None
    total = found.total
    assert (total.calls, total.changed, total.found, total.kept) == (3, 1, 1, 1)
    assert (total.before, total.after) == (5, 5 + 2 * DOLLAR)


def test_a_call_is_priced_as_of_when_it_was_made_and_by_the_model_that_answered():
    later = PriceBook(Overrides('name="b"\n[[price]]\nmodel="m"\nfrom=2026-11-18\nusd_per_mtok={input=1.0, output=0}'))
    old = call(1, cost=1, model="x", response_model="m")
    assert Difference().take(later, old)[2] == DOLLAR
    assert Difference().take(later, old._replace(ts=NOW - 10 * 86_400_000)) is None


@pytest.fixture
def standing():
    """Rows of two repricings of the same ten calls, and what the ledger says of them."""
    rows, told = [], []
    for number in (1, 2):
        news = [Difference().take(BOOK, call(offset, cost=number)) for offset in range(10, 20)]
        more, part = made(number, CELL, 1, 0, news, BOOK.version, NOW + number, KEY)
        rows += more
        told.append(Landed(Repricing(number, 1, 10, 20, part, BOOK.version, 0), 100 * number))
    return rows, told


def problems(rows, told):
    ordered = sorted(rows, key=lambda row: row[OFFSET])
    found = check(
        lambda epoch, first, next: [row for row in ordered if row[0] == epoch and first <= row[OFFSET] < next],
        KEY, Lawful(), told, lambda: None,
    )  # fmt: skip
    known = {one.repricing.number: one.repricing for one in told}
    named = {(finding.kind, finding.offset) for _, finding in found.findings}
    return named | {("row_unexpected", offset) for _, offset in strangers(1, ordered, known)}


def test_honest_rows_are_found_well(standing):
    assert problems(*standing) == set()


@pytest.mark.parametrize("column", REPRICINGS.columns, ids=lambda column: column.name)
def test_a_change_of_any_column_is_named(standing, column):
    rows, told = standing
    place = REPRICINGS.names.index(column.name)
    values = {
        "epoch": 2, "partition": 1, "offset": 99, "tenant": "other", "received_at": NOW + 1, "retention_days": 31,
        "repricing": 2, "repriced_at": 5, "cost_before_usd": 5, "cost_usd": 5, "list_cost_usd": None,
        "cost_source": "reported", "price_version": "x", "seal": bytes(16),
    }  # fmt: skip
    changed = list(rows[3])
    assert changed[place] != values[column.name]
    changed[place] = values[column.name]
    found = problems([*rows[:3], tuple(changed), *rows[4:]], told)
    assert 13 in {offset for _, offset in found}, found


def test_what_is_missing_twice_or_added_is_named(standing):
    rows, told = standing
    assert problems(rows[:3] + rows[4:], told) == {("row_missing", 13)}
    assert problems([*rows, rows[3]], told) == {("row_twice", 13)}
    added = list(rows[3])
    added[NUMBER] = 7
    assert problems([*rows, tuple(added)], told) == {("row_unexpected", 13)}

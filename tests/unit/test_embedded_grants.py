"""Grants name what the migrations make: a new table is readable or it holds text, and somebody has decided which."""

from __future__ import annotations

import re
from pathlib import Path

from infra.embedded.clickhouse_users import AUDITOR_TABLES, AUDITOR_VIEWS, GRANTS, TEXT_TABLES

MIGRATIONS = Path(__file__).parents[2] / "schemas" / "migrations"
CREATE = re.compile(
    r"CREATE (?:OR REPLACE )?(?P<kind>TABLE|VIEW)(?: IF NOT EXISTS)? \{database\}\.(?P<name>\w+)", re.IGNORECASE
)


def made(kind: str) -> set[str]:
    texts = [path.read_text() for path in sorted(MIGRATIONS.glob("*.sql"))]
    assert texts
    return {found["name"] for text in texts for found in CREATE.finditer(text) if found["kind"].upper() == kind}


def test_every_table_is_for_the_auditor_or_holds_text() -> None:
    assert "calls" in made("TABLE")
    undecided = made("TABLE") - set(AUDITOR_TABLES) - set(TEXT_TABLES)
    assert not undecided, "add them to AUDITOR_TABLES or TEXT_TABLES of infra/embedded/clickhouse_users.py"


def test_every_view_is_for_the_auditor() -> None:
    assert "calls_by_id" in made("VIEW")
    undecided = made("VIEW") - set(AUDITOR_VIEWS)
    assert not undecided, "add them to AUDITOR_VIEWS of infra/embedded/clickhouse_users.py, unless they show text"


def test_no_view_reads_a_table_with_text() -> None:
    for path in MIGRATIONS.glob("*.sql"):
        for statement in path.read_text().split(";"):
            found = CREATE.search(statement)
            if found is not None and found["kind"].upper() == "VIEW":
                assert not any(table in statement for table in TEXT_TABLES), found["name"]


def test_only_the_investigator_among_readers_is_granted_text() -> None:
    granted = {user for user, grants in GRANTS.items() for grant in grants if any(t in grant for t in TEXT_TABLES)}
    assert granted == {"investigator"}
    assert [user for user, grants in GRANTS.items() if any("tokentrail.*" in grant for grant in grants)] == [
        "pipeline",
        "ingest",
    ]

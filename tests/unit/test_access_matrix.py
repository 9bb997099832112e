"""One table of grants: every table of the migrations stands in it, and every rendering of it says the same."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from infra.access import sql
from infra.access.matrix import BY_NAME, OWNER, ROLES, TABLES, TENANT_READER, TEXT_TABLES
from infra.access.readers import ReadersError, load
from infra.access.rights import EVERY_ROW, logins
from infra.access.sentences import sentences
from infra.access.users_xml import container_users_xml, embedded_users_xml

MIGRATIONS = Path(__file__).parents[2] / "schemas" / "migrations"
CREATE = re.compile(
    r"CREATE (?:OR REPLACE )?(?P<kind>TABLE|(?:MATERIALIZED )?VIEW)(?: IF NOT EXISTS)? \{database\}\.(?P<name>\w+)",
    re.IGNORECASE,
)
READERS = {"acme_reader": "acme", "odd_reader": "it's \\ odd"}


def statements() -> dict[str, str]:
    """What makes each table and view, by name."""
    found = {}
    for path in sorted(MIGRATIONS.glob("*.sql")):
        for statement in path.read_text().split(";\n"):
            if match := CREATE.search(statement):
                found[match["name"]] = statement
    assert len(found) > 15
    return found


def test_every_table_and_view_of_the_migrations_stands_in_the_matrix() -> None:
    # Made by `migrate` itself, before any migration.
    assert set(statements()) | {"schema_migrations"} == set(BY_NAME), (
        "a table or view is one line in infra/access/matrix.py"
    )


@pytest.mark.parametrize("name", sorted(statements()))
def test_the_matrix_knows_views_tenants_and_text(name: str) -> None:
    table, statement = BY_NAME[name], statements()[name]
    is_view = "VIEW" in CREATE.search(statement)["kind"].upper()  # type: ignore[index]
    assert table.is_view == is_view
    if table.is_by_tenant:
        assert re.search(r"\btenant\b", statement), "a row policy needs the column tenant"
    if is_view and table.holds != "machinery":
        assert not any(text in statement for text in TEXT_TABLES), "a view must not show text"
        assert not re.search(r"DEFINER|SQL SECURITY", statement), "a view reads with its reader's rights"
    elif "`text`" in statement or re.search(r"^\s*(input|output|tool_calls) String", statement, re.M):
        assert table.holds == "text"


def test_every_table_with_a_tenants_rows_is_known_to_have_them() -> None:
    of_tenants = {
        name
        for name, statement in statements().items()
        if re.search(r"^\s*tenant (LowCardinality|String)", statement, re.M)
        and BY_NAME[name].holds in ("calls", "records", "findings", "costs")
        and not BY_NAME[name].is_view
    }
    assert of_tenants == {table.name for table in TABLES if table.is_by_tenant and not table.is_view}


def test_every_table_with_text_is_one_whose_reads_are_kept() -> None:
    kept = re.search(r"'\^\{database\}\\\\\.(.*?)\\\\\.`\?\(input", statements()["text_reads_log"])
    assert kept is not None
    assert all(re.fullmatch(kept[1], name) for name in TEXT_TABLES)
    assert not re.fullmatch(kept[1], "calls")


def test_only_the_investigator_among_readers_is_granted_text() -> None:
    granted = {
        login.name
        for login in logins(readers=READERS)
        for grant in login.grants
        if login.is_reader and any(text in grant for text in TEXT_TABLES)
    }
    assert granted == {"investigator"}


def test_only_the_owner_and_the_custodian_are_granted_more_than_single_tables() -> None:
    wide = {login.name for login in logins(readers=READERS) if any(".*" in grant for grant in login.grants)}
    assert wide == {OWNER, "custodian"}


def test_who_sees_a_part_of_a_table_is_named_and_all_others_are_told_that_they_see_all() -> None:
    every = logins(readers=READERS)
    for table in (table for table in TABLES if table.is_by_tenant and not table.is_view):
        conditions = {login.name: dict(login.policies)[f"tokentrail.{table.name}"] for login in every}
        assert conditions.pop("acme_reader") == "tenant = 'acme'"
        assert conditions.pop("odd_reader") == "tenant = 'it\\'s \\\\ odd'"
        assert set(conditions.values()) == {EVERY_ROW}


Said = tuple[list[str], dict[str, str], dict[str, tuple[str, str]]]


def of_xml(text: str) -> dict[str, Said]:
    """User to (grants, row policies, fixed and highest settings) out of a users file."""
    root = ElementTree.fromstring(text)
    bounds = {}
    for profile in root.find("profiles") or ():
        values = {setting.tag: setting.text or "" for setting in profile if setting.tag != "constraints"}
        kinds = {
            bound.tag: "CONST" if bound.find("readonly") is not None else "MAX"
            for bound in profile.find("constraints") or ()
        }
        bounds[profile.tag] = {name: (value, kinds.get(name, "")) for name, value in values.items()}
    found = {}
    for user in root.find("users") or ():
        if user.tag != "default":
            policies = {
                f"{database.tag}.{table.tag}": table.findtext("filter") or ""
                for database in user.find("databases") or ()
                for table in database
            }
            grants = [query.text or "" for query in user.iter("query")]
            found[user.tag] = (grants, policies, bounds[user.findtext("profile") or ""])
    return found


def of_sql(lines: list[str]) -> dict[str, Said]:
    """The same out of SQL: what the roles of a user have, and what is said of the user itself."""
    profiles: dict[str, dict[str, tuple[str, str]]] = {}
    role_profile: dict[str, str] = {}
    roles: dict[str, list[str]] = {}
    users: dict[str, str] = {}
    policies: dict[str, dict[str, str]] = {}
    for line in lines:
        if match := re.fullmatch(r"CREATE SETTINGS PROFILE OR REPLACE (\w+) SETTINGS (.*)", line):
            parts = (re.fullmatch(r"(\w+) = (\d+)(?: (CONST|MAX).*)?", part) for part in match[2].split(", "))
            profiles[match[1]] = {part[1]: (part[2], part[3] or "") for part in parts if part}
        elif match := re.fullmatch(r"CREATE ROLE IF NOT EXISTS (\w+) SETTINGS PROFILE (\w+)", line):
            role_profile[match[1]], roles[match[1]] = match[2], []
        elif match := re.fullmatch(r"GRANT (\w+) TO (\w+)", line):
            users[match[2]] = match[1]
        elif match := re.fullmatch(r"((?:GRANT|REVOKE) .* ON .*) (?:TO|FROM) (\w+)", line):
            if match[1] != "REVOKE ALL ON *.*":
                roles[match[2]].append(match[1])
        elif match := re.fullmatch(r"CREATE ROW POLICY OR REPLACE \w+ ON (\S+) FOR SELECT USING (.*) TO (\w+)", line):
            policies.setdefault(match[3], {})[match[1]] = match[2]
    return {
        user: (roles[role], policies.get(user) or policies.get(role, {}), profiles[role_profile[role]])
        for user, role in users.items()
    }


def test_the_users_files_and_the_sql_give_the_same_users_the_same_grants_policies_and_limits() -> None:
    from_sql = of_sql(sql.statements(readers=READERS))
    assert set(from_sql) == {role.name for role in ROLES} | set(READERS)
    assert of_xml(container_users_xml(readers=READERS)) == from_sql
    embedded = of_xml(embedded_users_xml(dict.fromkeys(from_sql, "00"), readers=READERS))
    for user, (grants, policies, limits) in embedded.items():
        # What clickhouse-local would let everybody do is fixed there.
        shared = {name: limit for name, limit in limits.items() if name in from_sql[user][2]}
        further = {name: limit for name, limit in limits.items() if name not in shared}
        assert further["allow_python_table_function"] == ("0", "CONST")
        assert all(bound == "CONST" for _, bound in further.values())
        assert (grants, policies, shared) == from_sql[user]


def test_a_user_without_a_password_can_log_in_from_nowhere_and_an_environment_has_users_of_its_own() -> None:
    lines = sql.statements("tokentrail_staging", {}, {"auditor": "ab" * 32}, user_prefix="staging_")
    made = [line for line in lines if line.startswith("CREATE USER")]
    assert len(made) == len(ROLES)
    for line in made:
        assert ("HOST NONE" in line) != ("staging_auditor" in line)
    assert not any("tokentrail." in line or " tokentrail_auditor" in line for line in lines)


def test_the_sentences_say_who_sees_text_and_which_tenant_a_reader_sees() -> None:
    said = {line.split()[0]: line for line in sentences(READERS)}
    assert set(said) == {role.name for role in ROLES} | set(READERS)
    assert "must say why" in said["investigator"]
    for name in ("auditor", "oncall", "finops", "acme_reader"):
        assert "No text." in said[name]
    assert "of acme, and of no other tenant" in said["acme_reader"]
    assert "ledger" in said["auditor"]
    assert "ledger" not in said["acme_reader"]


@pytest.mark.parametrize("line", ['auditor = "acme"', 'default = "acme"', 'Acme = "acme"', "a = 1", 'a = ""', "a ="])
def test_a_readers_file_with_a_line_that_cannot_be_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "readers.toml").write_text(line)
    with pytest.raises(ReadersError):
        load(tmp_path / "readers.toml")


def test_without_a_readers_file_there_is_no_tenants_reader(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml") == {}
    assert TENANT_READER not in {login.role for login in logins()}

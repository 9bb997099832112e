"""`tokentrail rules`: what the rules are, whether a file is right, and putting it into force.

Rules are a TOML file whose versions stand on `llm.controls`; no stage is started again for a new one.
"""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli import trying
from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.times import iso_ms
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.detection.ruleset import Ruleset

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Show the rules in force; check a rules file, try it on history, and put it into force.",
    epilog="Example: tokentrail rules show --tenant acme",
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A rules file (TOML).")]
TenantOption = Annotated[str, typer.Option(help="As they are for this tenant.")]
RuleOption = Annotated[str | None, typer.Option(help="Only this rule; `cost.` takes every rule that begins so.")]
TIERS: Final = {1: "page", 2: "ticket", 3: "review"}


@app.command(
    epilog="\b\nExamples:\n  tokentrail rules show --rule cost.\n  tokentrail rules show --template > rules.toml"
)
def show(
    tenant: TenantOption = "",
    rule: RuleOption = None,
    template: Annotated[
        bool, typer.Option("--template", help="A file with every parameter, its meaning and default; needs no servers.")
    ] = False,
    source: Annotated[bool, typer.Option("--source", help="The file in force, as it was applied.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every rule with what is set of it beyond the defaults, and which version is in force."""
    from pipeline.cli.output import table, write_json
    from pipeline.detection.describe import template as template_text
    from pipeline.detection.versions import text_of
    from pipeline.transport.rules import read_rules

    if template:
        print(template_text(), end="")
        return
    versions, records = read_rules(settings_for(data))
    number, ruleset = versions.at(_now_ms())
    if source:
        texts = [text_of(control) for _, control in records if control.version == number]
        print(texts[-1] if texts else "# No rules file was applied: the defaults are in force.\n", end="")
        return
    rows = list(_rows(ruleset, tenant, rule))
    if as_json:
        unreadable = {"unreadable": versions.unreadable} if versions.unreadable else {}
        write_json({"version": number, "latest": versions.latest(), **unreadable, "rules": rows})
        return
    said = f"Version {number} is in force." if number else "No rules file was applied: the defaults are in force."
    print(said + (f" Version {versions.latest()} takes effect within 30 s." if versions.latest() > number else ""))
    table(
        ["rule", "tier", "judged for", "state", "set"],
        [[row["rule"], row["tier"], row["dimension"], row["state"], _in_words(row["set"])] for row in rows],
        {},
    )


@app.command(epilog="Example: tokentrail rules check rules.toml")
def check(file: FileArgument, as_json: JsonOption = False) -> None:
    """Look for mistakes in a rules file, each with line and reason; fails when there is one. Needs no servers."""
    from pipeline.cli.output import write_json
    from pipeline.detection.rules_file import RulesFileError, parse

    try:
        ruleset = parse(read_text(file))
    except RulesFileError as error:
        if as_json:
            mistakes = [{"line": one.line, "path": list(one.path), "reason": one.reason} for one in error.mistakes]
            write_json({"ok": False, "mistakes": mistakes})
        else:
            for one in error.mistakes:
                print(f"{file}:{one}".replace(":line ", ":", 1))
        raise typer.Exit(1) from None
    rows = [row for row in _rows(ruleset, "", None) if row["set"]]
    tenants = sorted(ruleset.tenants)
    if as_json:
        write_json({"ok": True, "rules": rows, "tenants": tenants})
        return
    for row in rows:
        print(f"{row['rule']} ({row['dimension']}): {_in_words(row['set'])}")
    for tenant in tenants:
        for row in _rows(ruleset, tenant, None):
            if row["rule"] in ruleset.tenants[tenant]:
                print(f"{row['rule']} ({row['dimension']}) of tenant {tenant}: {_in_words(row['set'])}")
    print(f"{file} can be used." if rows or tenants else f"{file} can be used; it changes nothing.")


@app.command(epilog="Example: tokentrail rules apply rules.toml --by alex")
def apply(
    file: FileArgument,
    by: Annotated[
        str | None, typer.Option("--by", metavar="WHO", help="Who answers for it (default: your login).")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a rules file into force. It takes effect 30 s later in every stage, at the same place in the log."""
    from pipeline.cli.output import write_json
    from pipeline.transport.rules import publish_rules
    from schemas.control import EFFECT_DELAY_MS

    version = publish_rules(settings_for(data), read_text(file), by or getpass.getuser())
    effective_ms = _now_ms() + EFFECT_DELAY_MS
    if as_json:
        write_json({"version": version, "effective_at": iso_ms(effective_ms) if version else None})
    elif version is None:
        print("These are the latest rules already.")
    else:
        print(f"Version {version} is published; it takes effect in {EFFECT_DELAY_MS // 1000} s.")


def read_text(file: Path) -> str:
    """A rules file's text.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise UsageError(f"The rules file {file} cannot be read: {reason}.") from error


def _rows(ruleset: Ruleset, tenant: str, rule: str | None) -> list[dict[str, Any]]:
    from pipeline.detection.describe import set_parameters, value
    from pipeline.detection.registry import RULES

    return [
        {
            "rule": entry.name,
            "tier": TIERS[entry.recipe.tier],
            "dimension": dimension,
            "stage": entry.stage,
            "state": _state(ruleset.recipe(entry.name, dimension, tenant)),
            "set": {
                name: value(given) for name, given in set_parameters(ruleset, entry.name, dimension, tenant).items()
            },
        }
        for entry in RULES
        if rule is None or entry.name == rule or (rule.endswith(".") and entry.name.startswith(rule))
        for dimension in entry.dimensions
    ]


def _state(recipe: Any) -> str:
    return "off" if not recipe.enabled else "shadow" if recipe.shadow else "on"


def _in_words(parameters: dict[str, str]) -> str:
    return ", ".join(f"{name} = {given}" for name, given in parameters.items())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


app.command(
    epilog="\b\nExamples:\n  tokentrail rules test rules.toml\n  tokentrail rules test rules.toml --on may.gz --json"
)(trying.test)
app.command(epilog="Example: tokentrail rules history may.gz")(trying.history)

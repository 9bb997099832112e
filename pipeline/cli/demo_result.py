"""What a play led to, as one object: truth compared, rows counted, a sample read back, everything verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from demo.sample import asked, sample
from demo.truth import Found, Verdict, compare
from pipeline.cli import verify
from pipeline.cli.context import settings_for
from pipeline.cli.reader import Reader
from pipeline.cli.times import iso_ms
from pipeline.intake.identify import Identifiers
from pipeline.keys import load
from pipeline.redaction.identifiers import is_clean_identifier

if TYPE_CHECKING:
    from demo.truth import Outcome
    from pipeline.cli.demo_play import Play

VERIFY_S: Final = 30.0
TABLES: Final = ("calls", "call_content", "evaluations", "feedback", "windows", "anomalies", "dead_letters")


def collect(play: Play, folder: Path) -> dict[str, Any]:
    """Everything there is to say; `holds` is the verdict of the whole."""
    reader = Reader(settings_for(folder, user="investigator"), reason="a sample for the demonstration")
    verdict = _compare(play)
    verified = _verify(play)
    return {
        "seed": play.scenario.seed,
        "holds": verdict.holds and verified["holds"],
        "tenants": [tenant.name for tenant in play.scenario.tenants],
        "events": play.player.events,
        "records": play.player.records,
        "played_s": play.played_s,
        "held_back_s": round(play.player.waited_s, 1),
        "planted": [_outcome(outcome, play.midnight_ms) for outcome in verdict.outcomes],
        "explained": [_found(found, play.midnight_ms) for found in verdict.explained],
        "invented": [_found(found, play.midnight_ms) for found in verdict.invented],
        "cost_usd": {tenant: round(cost, 6) for tenant, (cost, _) in sorted(play.picture.costs.items())},
        "rows": {table: reader.ask(f"SELECT count() FROM {table}").rows[0][0] for table in TABLES},
        "sample": _sample(play, reader),
        "verify": verified,
    }


def _compare(play: Play) -> Verdict:
    identifiers = Identifiers(load(play.settings), is_clean_identifier)
    day_ms = play.midnight_ms
    findings = [
        Found(one.id, one.rule, one.subject, one.opened_at - day_ms, one.detected_at - day_ms, received_s, one.why)
        for received_s, one in play.received
    ]
    return compare(
        play.scenario,
        findings,
        lambda tenant, run: identifiers.hashed(tenant, "run", run) or "",
        lambda at_ms: play.player.sent_s(day_ms + at_ms),
    )


def _outcome(outcome: Outcome, midnight_ms: int) -> dict[str, Any]:
    incident, found = outcome.incident, outcome.found
    names = ("tenant", "feature", "run", "provider", "model")
    return {
        "kind": incident.kind,
        "subject": {name: value for name in names if (value := getattr(incident, name))},
        "start": iso_ms(midnight_ms + incident.start_ms),
        "end": iso_ms(midnight_ms + incident.end_ms),
        "rule": None if found is None else found.rule,
        "anomaly": None if found is None else found.id,
        "why": None if found is None else found.why,
        "delay_event_s": outcome.delay_event_s,
        "delay_wall_s": outcome.delay_wall_s,
    }


def _found(found: Found, midnight_ms: int) -> dict[str, Any]:
    return {
        "rule": found.rule,
        "anomaly": found.id,
        "subject": dict(found.subject),
        "opened_at": iso_ms(midnight_ms + found.opened_ms),
        "why": found.why,
    }


def _sample(play: Play, reader: Reader) -> dict[str, str] | None:
    """What a person wrote, and what is stored of it; None where no call of the day carries text."""
    event = sample(play.events)
    if event is None:
        return None
    rows = reader.ask("SELECT input FROM call_content WHERE id = {id:String}", {"id": event["id"]}).rows
    stored = asked({"input": json.loads(rows[0][0])}) if rows else "(nothing is stored)"
    return {"id": event["id"], "sent": asked(event), "stored": stored}


def _verify(play: Play) -> dict[str, Any]:
    """What `tokentrail verify` says of it all."""
    report, unsettled = verify.run(play.settings, settled_within_s=VERIFY_S)
    holds = report.ok and not unsettled
    if report.problems:
        said = f"Kafka, ledger and rows DIFFER: {len(report.problems):,} problems in {report.rows:,} rows"
    elif unsettled:
        said = f"{sum(unsettled.values()):,} positions did not become rows in time"
    else:
        said = f"Kafka, ledger and rows agree: {report.rows:,} rows are what the ledger says"
    return {"holds": holds, "said": said, "rows": report.rows, "problems": len(report.problems)}

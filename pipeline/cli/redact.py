"""`tokentrail redact`: what the pipeline would store of a text, and why; and the way back for whoever holds the key."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.context import JsonOption
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.control.policy import Policy
    from pipeline.redaction import Treatment
    from pipeline.redaction.engine import Engine
    from pipeline.redaction.values import Finding, Reason

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: tokentrail redact chat.txt --policy policy.toml --tenant acme --explain")
def redact(
    file: Annotated[Path, typer.Argument(help="A text; .json and .jsonl are walked as data; - is standard input.")],
    policy: Annotated[Path | None, typer.Option(help="Policy file (TOML); none: everything is replaced.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose policy and keys.")] = "",
    environment: Annotated[str | None, typer.Option(help="In which environment.")] = None,
    ner: Annotated[bool, typer.Option(help="Find names and places too, not only patterns.")] = True,
    model: Annotated[str | None, typer.Option(help="Package or folder of a spaCy model.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which recogniser found what, why and how surely.")
    ] = False,
    reveal: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Open encrypted values instead: file:PATH or env:NAME of their key."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a file before and after redaction.

    Nothing is sent or kept. Pseudonyms need the installation's key root (TOKENTRAIL_KEY_ROOT_FILE); without it values
    are replaced. With --json and --explain findings are told by their offsets, never by their text.
    """
    text = _read(file)
    if reveal is not None:
        _reveal(text, reveal, tenant, as_json)
        return
    from pipeline.control.policy import load
    from pipeline.redaction import RedactionConfig
    from pipeline.redaction.engine import Engine

    treatment = _treatment(load(policy), tenant, environment)
    engine = Engine(RedactionConfig(ner=ner, model=model))
    values = _values(file, text)
    results = [_one(engine, value, treatment, explain) for value in values]
    counts = sum((one["counts"] for one in results), Counter[str]())
    failed = sum((one["failed"] for one in results), Counter[str]())
    if as_json:
        print(
            json.dumps(
                {"engine": engine.manifest, "replaced": counts, "failed": failed, "texts": results}, ensure_ascii=False
            )
        )
    else:
        for one in results:
            _show(one, explain)
        what = ", ".join(f"{n} {entity}" for entity, n in counts.most_common()) or "nothing"
        print(f"replaced: {what}" + (f"; replaced whole: {dict(failed)}" if failed else ""), file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as UTF-8 text: {error}.") from error


def _values(file: Path, text: str) -> list[Any]:
    """What is redacted one by one: the JSON values of a data file, or the whole text."""
    if file.suffix not in (".json", ".jsonl"):
        return [text]
    lines = [text] if file.suffix == ".json" else [line for line in text.splitlines() if line.strip()]
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise UsageError(f"{file} is no JSON: {error}. Give it another name to have it treated as text.") from error


def _treatment(policy: Policy, tenant: str, environment: str | None) -> Treatment:
    from pipeline import keys
    from pipeline.intake.treatments import treatment
    from pipeline.settings import Settings

    known: dict[str, Any] = {}
    settings = Settings(**known)
    has_root = settings.key_root_file is not None or settings.key_root.get_secret_value()
    return treatment(policy.redaction(tenant, environment), tenant, keys.load(settings) if has_root else None)


def _one(engine: Engine, value: Any, treatment: Treatment, explain: bool) -> dict[str, Any]:
    """One value as the pipeline would store it."""
    from pipeline.intake.texts import Texts, fill
    from pipeline.redaction import REPLACED, apply

    texts = Texts(treatment)
    template = texts.collect(value) if not isinstance(value, str) else None
    found = texts.found if template is not None else [value]
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    filled, findings = [], []
    for number, text in enumerate(found):
        answer, reasons = engine.explain(text) if explain else (engine.find([text])[0], [])
        if isinstance(answer, str):
            failed[answer] += 1
            filled.append(REPLACED)
            continue
        done, replaced = apply(text, answer, treatment)
        if treatment.shows_canary(done):
            failed["canary"] += 1
            done, replaced = REPLACED, {}
        filled.append(done)
        counts.update(replaced)
        findings += _told(number, answer, reasons, treatment) if explain else []
    after = filled[0] if template is None else fill(template, filled, counts)
    return {"before": value, "after": after, "counts": counts, "failed": failed, "findings": findings}


def _told(text: int, findings: list[Finding], reasons: list[Reason], treatment: Treatment) -> list[dict[str, Any]]:
    why = {(r.entity, r.start, r.end): r for r in reasons}
    told = []
    for f in findings:
        reason = why.get((f.entity, f.start, f.end))
        told.append(
            {
                "text": text,
                "type": f.entity,
                "start": f.start,
                "end": f.end,
                "score": round(f.score, 2),
                "recognizer": reason.recognizer if reason else "",
                "why": reason.pattern if reason else "seen only in the text as it reads (folded), or across pieces",
                "action": treatment.actions.get(f.entity, treatment.action) if treatment.wants(f.entity) else "left",
            }
        )
    return told


def _show(one: dict[str, Any], explain: bool) -> None:
    before, after = _lines(one["before"]), _lines(one["after"])
    if before == after:
        print("\n".join(f"  {line}" for line in after))
    else:
        import difflib

        for line in difflib.ndiff(before, after):
            if not line.startswith("?"):
                print(line)
    if explain:
        for f in one["findings"]:
            place = f"{f['start']}-{f['end']}"
            print(f"    {f['type']:20} {place:>12}  {f['score']:.2f}  {f['action']:9}  {f['recognizer']}: {f['why']}")


def _lines(value: Any) -> list[str]:
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)).splitlines()


def _reveal(text: str, reference: str, tenant: str, as_json: bool) -> None:
    """Open encrypted values in a text that came out of the pipeline.

    Raises:
        UsageError: The key cannot be had.
    """
    from pipeline.keys import resolve_key
    from pipeline.redaction.seal import Seal

    opened, count, left = Seal(resolve_key(reference), reference).open_all(tenant, text)
    if as_json:
        print(json.dumps({"text": opened, "opened": count, "left": left}, ensure_ascii=False))
    else:
        print(opened, end="" if opened.endswith("\n") else "\n")
        print(f"opened: {count}; left closed: {left}", file=sys.stderr)
    if left:
        raise typer.Exit(1)

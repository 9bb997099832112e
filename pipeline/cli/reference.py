"""The generated pages of `docs/reference`: event, topics, settings, metrics, redaction.

`python -m pipeline.cli.reference` writes them; a test fails when they are not current.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import prometheus_client
from msgspec import inspect

from pipeline import metrics
from pipeline.settings import Settings
from schemas import otel
from schemas.event import Event
from schemas.topics import DAY_MS, TOPICS

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "reference"


def event() -> str:
    """Every field of the event with its type and its OpenTelemetry name."""
    lines = [
        "# The event (`tokentrail.event.v1`)",
        "",
        "One JSON object a Kafka record, one record a call. Only `tenant` is required. Unknown fields are accepted and",
        "dropped. JSON Schema: `schemas/json/tokentrail.event.v1.json`. What becomes of each field: decision 3.",
        "",
        "| field | type | OpenTelemetry GenAI |",
        "| --- | --- | --- |",
    ]
    for path, kind in _fields(inspect.type_info(Event), ""):
        lines.append(f"| `{path}` | {kind} | {_code(otel.ATTRIBUTES.get(path.replace('[]', '')))} |")
    return "\n".join(lines) + "\n"


def topics() -> str:
    """Every topic with its partitions, life and settings."""
    lines = [
        "# Topics",
        "",
        "Physical names add the prefix (`llm.`). `tokentrail migrate` creates what is missing and alters nothing.",
        "",
        "| topic | partitions | life | settings |",
        "| --- | --- | --- | --- |",
    ]
    for topic in TOPICS:
        life = "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms // DAY_MS} d"
        settings = ", ".join(f"`{name}={value}`" for name, value in topic.settings.items())
        lines.append(f"| `{topic.name}` | {'as many as `calls.raw`' if topic.spread else '1'} | {life} | {settings} |")
    return "\n".join(lines) + "\n"


def settings() -> str:
    """Every environment variable with its default."""
    lines = [
        "# Settings",
        "",
        "Environment variables; `--data DIR` fills in what an embedded installation knows. Secrets are never printed.",
        "",
        "| variable | default | meaning |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default in ("", None) or "Secret" in type(default).__name__ else f"`{default}`"
        lines.append(f"| `TOKENTRAIL_{name.upper()}` | {shown} | {field.description or ''} |")
    return "\n".join(lines) + "\n"


def metric_names() -> str:
    """Every metric with its labels and meaning."""
    lines = [
        "# Metrics",
        "",
        "Each process has a Prometheus endpoint on loopback; `tokentrail doctor` names the ports.",
        "",
        "| metric | labels | meaning |",
        "| --- | --- | --- |",
    ]
    kinds = (prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram)
    for item in vars(metrics).values():
        if isinstance(item, kinds):
            described: Any = item
            labels = ", ".join(described._labelnames)
            suffix = "_total" if isinstance(item, prometheus_client.Counter) else ""
            lines.append(f"| `{described._name}{suffix}` | {labels} | {described._documentation} |")
    return "\n".join(lines) + "\n"


def redaction() -> str:
    """Every type that redaction finds, and by whom."""
    from pipeline.redaction import RedactionConfig
    from pipeline.redaction.recognizers import load

    lines = [
        "# What redaction finds",
        "",
        "Types as they stand in `<TYPE>` and in policies. With names switched on the model adds PERSON, LOCATION,",
        "NRP and DATE_TIME. How well they are found: `tokentrail bench accuracy` on labelled text that is not part of",
        "the project, and the tests on planted values ([decision 13](../decisions/0013-recognisers.md)).",
        "",
        "| type | recogniser | ways of writing it |",
        "| --- | --- | --- |",
    ]
    rows = []
    for recognizer in load(RedactionConfig(ner=False)):
        ways = [shape.name for shape in getattr(recognizer, "shapes", ())]
        ways = ways or [pattern.name for pattern in getattr(recognizer, "patterns", ())]
        said = "; ".join(ways).replace("|", "/")
        is_ours = type(recognizer).__module__.startswith("pipeline.")
        whose = "ours" if is_ours else "Presidio's"
        rows += [f"| `{entity}` | {whose} | {said} |" for entity in recognizer.supported_entities]
    return "\n".join([*lines, *sorted(rows)]) + "\n"


PAGES: Final = {
    "redaction.md": redaction,
    "event.md": event,
    "topics.md": topics,
    "settings.md": settings,
    "metrics.md": metric_names,
}


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())


def _fields(info: Any, path: str) -> Iterator[tuple[str, str]]:
    for field in info.fields:
        name = f"{path}{field.encode_name}"
        options = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        for option in options:
            nested = option.item_type if isinstance(option, inspect.ListType) else option
            if isinstance(nested, inspect.StructType):
                yield from _fields(nested, f"{name}{'[]' if nested is not option else ''}.")
                break
        else:
            yield name, " or ".join(_kind(option) for option in options if not isinstance(option, inspect.NoneType))


def _kind(info: Any) -> str:
    if isinstance(info, inspect.LiteralType):
        return ", ".join(f"`{value}`" for value in info.values)
    if isinstance(info, inspect.ListType):
        return f"list of {_kind(info.item_type)}"
    if isinstance(info, inspect.DictType):
        return f"map of {_kind(info.value_type)}"
    if isinstance(info, inspect.AnyType):
        return "any JSON"
    names = {"StrType": "string", "IntType": "integer", "FloatType": "number", "BoolType": "boolean"}
    kind = names[type(info).__name__]
    least, most = getattr(info, "ge", None), getattr(info, "le", None)
    return kind if least is None else f"{kind}, {least:g} to {most:g}" if most is not None else f"{kind} from {least:g}"


def _code(name: str | None) -> str:
    return f"`{name}`" if name else ""


if __name__ == "__main__":
    main()

"""JSON Schema of every record that others read or write, generated from the structs.

`python -m schemas.jsonschema` writes them to `schemas/json/`; a test fails when they are not current.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.anomaly import Anomaly
from schemas.clean import Clean
from schemas.control import Control
from schemas.event import Event
from schemas.fact import Fact

FOLDER: Final = Path(__file__).parent / "json"
PUBLISHED: Final[dict[str, type]] = {
    "tokentrail.event.v1": Event,
    "tokentrail.fact.v1": Fact,
    "tokentrail.clean.v1": Clean,
    "tokentrail.anomaly.v1": Anomaly,
    "tokentrail.control.v1": Control,
}


def generate(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one record type by its schema name."""
    kind = PUBLISHED[name]
    (schema,), components = msgspec.json.schema_components((kind,), ref_template="#/$defs/{name}")
    top = components.pop(kind.__name__)
    assert schema == {"$ref": f"#/$defs/{kind.__name__}"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{name.replace('.', ':')}",
        **top,
        **({"$defs": components} if components else {}),
    }


def text(name: str) -> str:
    """The schema as it stands in its file."""
    return json.dumps(generate(name), indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for name in PUBLISHED:
        (FOLDER / f"{name}.json").write_text(text(name))


if __name__ == "__main__":
    main()

"""Public contracts grow and break nobody; the AsyncAPI document is current, whole, and says what the schemas say."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from schemas import asyncapi
from schemas.compatibility import RELEASED, breaks
from schemas.jsonschema import generate
from schemas.topics import BY_NAME

NAMES = sorted(path.stem for path in RELEASED.glob("*.json"))


def released(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((RELEASED / f"{name}.json").read_text())
    return loaded


@pytest.mark.parametrize("name", NAMES)
def test_a_public_contract_breaks_nobody(name: str) -> None:
    assert breaks(released(name), generate(name)) == []


def test_every_public_contract_has_been_released() -> None:
    assert {"tokentrail.event.v1", "tokentrail.anomaly.v1", "tokentrail.control.v1"} <= set(NAMES)


def removed(schema: dict[str, Any]) -> None:
    del schema["properties"]["latency_ms"]


def retyped(schema: dict[str, Any]) -> None:
    schema["properties"]["session"] = {"type": "integer"}


def demanded(schema: dict[str, Any]) -> None:
    schema["required"].append("user")


def let_go(schema: dict[str, Any]) -> None:
    schema["required"].remove("tenant")


def narrowed(schema: dict[str, Any]) -> None:
    schema["properties"]["kind"]["enum"].remove("canary")


def bounded(schema: dict[str, Any]) -> None:
    schema["properties"]["tenant"]["maxLength"] = 10


def deep(schema: dict[str, Any]) -> None:
    del schema["$defs"]["Usage"]["properties"]["cached"]


def closed(schema: dict[str, Any]) -> None:
    schema["additionalProperties"] = False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (removed, "latency_ms: was removed"),
        (retyped, "session: held null or string, holds integer"),
        (demanded, "user: is required now"),
        (let_go, "tenant: is not always there any more"),
        (narrowed, "kind: lost a value of its enumeration"),
        (bounded, "tenant: maxLength is tighter"),
        (deep, "usage.cached: was removed"),
        (closed, "the record: takes no further fields any more"),
    ],
)
def test_what_breaks_somebody_is_named(change: Any, said: str) -> None:
    old = released("tokentrail.event.v1")
    new = copy.deepcopy(old)
    change(new)
    assert said in breaks(old, new)


def test_growth_breaks_nobody() -> None:
    old = released("tokentrail.event.v1")
    new = copy.deepcopy(old)
    new["properties"]["colour"] = {"type": "string"}
    new["properties"]["kind"]["enum"].append("picture")
    new["properties"]["tenant"]["maxLength"] = 10_000
    assert breaks(old, new) == []


# -- the AsyncAPI document


def test_the_document_is_current() -> None:
    assert asyncapi.FILE.read_text() == asyncapi.text(), "run: python -m schemas.asyncapi"


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        here = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return here.union(*(references(one) for one in value.values()))
    return set().union(*(references(one) for one in value)) if isinstance(value, list) else set()


def test_the_document_has_what_the_specification_asks_for_and_every_reference_leads_somewhere() -> None:
    document = asyncapi.generate()
    assert document["asyncapi"] == "3.0.0" and {"title", "version"} <= document["info"].keys()
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive") and set(operation["channel"]) == {"$ref"}
        channel = operation["channel"]["$ref"]
        assert all(one["$ref"].startswith(f"{channel}/messages/") for one in operation["messages"])
    for channel in document["channels"].values():
        assert {f"{{{name}}}" in channel["address"] for name in channel["parameters"]} == {True}
        assert channel["title"] in BY_NAME
    for reference in references(document):
        found: Any = document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Event", {"tenant": "acme"}, {"tenant": 3}),
        (
            "Control",
            {"schema": "tokentrail.control.v1", "kind": "budget"},
            {"schema": "tokentrail.control.v1", "kind": "x"},
        ),
    ],
)
def test_its_schemas_take_what_the_contracts_take(name: str, good: Any, bad: Any) -> None:
    document = asyncapi.generate()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema)


def test_the_shim_knows_every_field_of_an_anomaly() -> None:
    import dataclasses

    import tokentrail

    known = {one.name for one in dataclasses.fields(tokentrail.Anomaly)}
    fields = set(generate("tokentrail.anomaly.v1")["properties"]) - {"schema", "window"}
    assert fields <= known

"""The published JSON Schemas are current, and say the same of a record as the structs do."""

import json

import jsonschema
import msgspec
import pytest

from schemas import otel
from schemas.event import Event
from schemas.jsonschema import FOLDER, PUBLISHED, generate, text


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_file_is_what_the_struct_generates(name):
    assert (FOLDER / f"{name}.json").read_text() == text(name), "run: python -m schemas.jsonschema"


def test_no_file_is_left_over():
    assert {path.stem for path in FOLDER.iterdir()} == set(PUBLISHED)


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ({"tenant": "acme"}, True),
        ({"tenant": "acme", "usage": {"input": 3}, "unknown": 1}, True),
        ({"tenant": ""}, False),
        ({}, False),
        ({"tenant": "acme", "usage": {"input": -3}}, False),
        ({"tenant": "acme", "status": "exploded"}, False),
    ],
)
def test_schema_and_decoder_agree(body, good):
    errors = list(jsonschema.Draft202012Validator(generate("tokentrail.event.v1")).iter_errors(body))
    try:
        msgspec.json.decode(json.dumps(body).encode(), type=Event)
        decodes = True
    except msgspec.ValidationError:
        decodes = False
    assert (not errors, decodes) == (good, good)


def test_every_mapped_field_exists():
    fields = set(Event.__struct_fields__)
    assert {name.split(".")[0] for name in otel.ATTRIBUTES} <= fields

"""Planted values through real Kafka, every stage and ClickHouse: a short version of `python -m tests.planted`."""

from __future__ import annotations

import pytest

from tests.planted import through_kafka


@pytest.mark.timeout(240)
def test_nothing_planted_is_downstream_of_raw_and_without_redaction_all_of_it_is() -> None:
    report = through_kafka(770, 5, {})
    assert report == {"events": 770, "found": 0, "places": {}, "examples": []}
    control = through_kafka(154, 6, {"TOKENTRAIL_REDACTION": "off"})
    assert control["found"] == 154, control

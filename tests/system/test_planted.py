"""Planted values through real Kafka, every stage and ClickHouse: a short version of `python -m tests.planted`."""

from __future__ import annotations

import pytest

from tests.planted import through_kafka


@pytest.mark.timeout(240)
def test_nothing_planted_is_downstream_of_raw_and_without_redaction_all_of_it_is() -> None:
    report = through_kafka(1_540, 5, {})
    assert report == {"events": 1_540, "found": 0, "places": {}, "examples": []}
    control = through_kafka(308, 6, {"TOKENTRAIL_REDACTION": "off"})
    assert control["found"] == 308, control

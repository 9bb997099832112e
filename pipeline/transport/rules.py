"""Rules on `llm.controls`: read the versions that stand there, and append a new one. Blocking."""

from __future__ import annotations

import time

from pipeline.detection.rules_file import parse
from pipeline.detection.versions import Versions, text_of
from pipeline.settings import Settings
from pipeline.transport.policies import append_control, read_controls
from schemas.control import Control


def read_rules(settings: Settings) -> tuple[Versions, list[tuple[int, Control]]]:
    """All versions, and the records they are made of; raises as `read_controls` does."""
    records = read_controls(settings, "rules")
    return Versions(records), records


def publish_rules(settings: Settings, text: str, owner: str) -> int | None:
    """Append a rules file as the next version unless the latest says the same.

    Returns:
        Its number; None where nothing had to be done.

    Raises:
        RulesFileError: The file has mistakes.
        RetryableError: Kafka did not take the record.
    """
    parse(text)
    versions, records = read_rules(settings)
    latest = versions.latest()
    if any(control.version == latest and text_of(control) == text for _, control in records):
        return None
    body = {"text": text}
    append_control(settings, Control("rules", {}, owner, latest + 1, body, set_at=int(time.time() * 1000)))
    return latest + 1

"""Every rule has its page, every page its rule, and each says what it means, how to look and what to do."""

import re
from pathlib import Path

import pytest

from pipeline.detection.redaction_canary import LIFE
from pipeline.detection.registry import RULES

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
PARTS = ("What it means.", "How to look.", "What to do.", "When it is wrong.")


def test_every_rule_has_a_page_and_every_page_a_rule():
    # The page of a redaction canary has no recipe: its canary is set in the redaction policy.
    named = {*(entry.recipe().life.runbook for entry in RULES), LIFE.runbook}
    assert {f"docs/runbooks/{path.name}" for path in FOLDER.glob("*.md")} == named


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_a_page_has_its_parts_in_order(path):
    text = path.read_text()
    assert text.startswith(f"# {path.stem}\n")
    assert re.findall(r"^\*\*([A-Z][^*]*\.)\*\*", text, re.MULTILINE) == list(PARTS)

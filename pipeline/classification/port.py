"""The port of classifiers: an answer in, verdicts out. Knows no Kafka, no tenant and no place to store anything.

A classifier is any callable that takes an `Answer` and gives verdicts; it may block, and it is called in a thread. What
it gives becomes an `evaluation` of the call, like any evaluation that an application sends.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

# Of ids made here; `uuid5` of the call and of what judged it.
_NAMESPACE: Final = uuid.UUID("7d3f3c1e-6f0f-5b0a-9a53-0b1d6c1f7a55")
MOST_VERDICTS: Final = 8
_PARTS: Final = 1 << 64


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A redacted answer as classifiers get it.

    Attributes:
        text: What the model said, without roles.
        language: Its language, where that is known.
        refusal: Whether the model refused, where that is known.
    """

    text: str
    language: str | None = None
    refusal: bool | None = None


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a classifier found; it has a score, a label, or both.

    Names and labels of `schemas.vocabulary.JUDGEMENTS` are stored as they are, others as a readable hash.
    """

    name: str
    score: float | None = None
    label: str | None = None


Classify = Callable[[Answer], Iterable[Verdict]]


class Classifier(msgspec.Struct, frozen=True):
    """A classifier under the name by which settings know it; the name is a part of its evaluations' ids."""

    spec: str
    classify: Classify


def is_sampled(call: str, share: float) -> bool:
    """Whether a call is judged: by its id alone, so that every process and every repeat decides alike."""
    drawn = int.from_bytes(hashlib.blake2b(call.encode(), digest_size=8, person=b"classify").digest(), "big")
    return drawn < share * _PARTS


def evaluation_id(call: str, spec: str, name: str) -> str:
    """The id of an evaluation: the same whenever the same classifier judges the same call."""
    return str(uuid.uuid5(_NAMESPACE, f"{call}\x1f{spec}\x1f{name}"))


def checked(found: object) -> list[Verdict]:
    """Verdicts as a classifier of somebody else gave them.

    Raises:
        ValueError: They are none, or more than anybody means to give.
    """
    try:
        verdicts = msgspec.convert(list(found), list[Verdict], from_attributes=True)  # type: ignore[call-overload]
    except (msgspec.ValidationError, TypeError) as error:
        raise ValueError("it gave no list of verdicts") from error
    if len(verdicts) > MOST_VERDICTS:
        raise ValueError(f"it gave {len(verdicts)} verdicts, more than {MOST_VERDICTS}")
    names = [one.name for one in verdicts]
    if len(set(names)) < len(names) or not all(1 <= len(name) <= 100 for name in names):
        raise ValueError("it gave two verdicts of one name, or a name that is none")
    for one in verdicts:
        if one.score is None and not one.label:
            raise ValueError("it gave a verdict without score and label")
        if one.score is not None and not abs(one.score) <= 1e9:
            raise ValueError("it gave a score that is no number")
        if one.label is not None and len(one.label) > 100:
            raise ValueError("it gave a label that is a text")
    return verdicts

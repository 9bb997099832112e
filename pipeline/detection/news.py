"""Whether a run still hears anything new: the words of late answers, looked for among those of earlier ones. Pure.

Each answer brings a sample of its words (`words.sample`), the run keeps the sample of all. Only a few words of each
answer are looked for, so that it takes many steps to say something; and none of a list that is worked through or of
numbers that change, where words repeat although things get on.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from pipeline.detection.nearness import HEAD, RECORD, TRENDS, moved
from pipeline.detection.run import Run
from pipeline.detection.steps import LEVELS, TOOL, WRITES, Step
from pipeline.detection.words import SAMPLE

# Words of one answer that are looked for.
LISTEN: Final = 3
# Each answer counts for so much less than the next: one in FADES.
FADES: Final = 8
# From so many sixteenths of a word on something can be said.
ENOUGH: Final = 160

_TOLD: Final = Struct("<I")
_SAMPLES: Final = tuple(Struct(f"<{count}H") for count in range(SAMPLE + 1))
_ANSWER_LEVELS: Final = ((1 << LEVELS) - 1) << LEVELS


def listen(run: Run, step: Step, head: bytes, is_getting_on: bool) -> None:
    """Count how many of an answer's words are new to the run; the run's records are still those before the step.

    `head` is how the records of like steps begin.
    """
    words = step.words
    if not words:
        return
    known = _SAMPLES[len(run.vocabulary) // 2].unpack(run.vocabulary)
    if len(known) >= SAMPLE and words[-1] > known[-1]:
        last = known[-1]
        words = tuple([word for word in words if word <= last])
        if not words:
            return
    unknown = set(words).difference(known)
    if known and not is_getting_on and not (step.kind == TOOL and _is_work(run, step, head)):
        some = words[:LISTEN]
        run.checked += 16 * len(some) - run.checked // FADES
        fresh = 16 * len(unknown.intersection(some)) if unknown else 0
        run.fresh += fresh - run.fresh // FADES
    if unknown:
        merged = sorted((*known, *unknown))[:SAMPLE]
        run.vocabulary = _SAMPLES[len(merged)].pack(*merged)


def _is_work(run: Run, step: Step, head: bytes) -> bool:
    """Whether a step is one of many that are to be done, or the numbers in its answer are news."""
    if step.flags & WRITES or not step.question.words:
        return True
    records, told = run.records, step.told
    newest, item_is_known = 0, told == 0
    held = len(records) // RECORD.size
    for place in range(held):
        begin = len(records) - (place + 1) * RECORD.size
        if records.startswith(head, begin):
            newest = newest or place + 1
            item_is_known = item_is_known or _TOLD.unpack_from(records, begin + HEAD)[0] == told
            if item_is_known:
                break
    if not item_is_known:
        return True
    end = len(run.levels) - (newest - 1) * TRENDS.size
    if not newest or end < TRENDS.size:
        return False
    up, down = moved(step, run.levels[end - TRENDS.size : end])
    return bool((up | down) & _ANSWER_LEVELS)

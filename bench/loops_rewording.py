"""Says a text again in other words, and changes what is volatile in it, for planted near-duplicates.

Shares nothing with `pipeline.detection`: no pattern, no list. Words are exchanged by groups of like meaning, sentences
get other openings and orders, identifiers and numbers are drawn anew in a dozen shapes that systems really use.
"""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

_GROUPS: Final = [
    group.split("/")
    for group in (
        "search for/look for/look up/try to find/hunt for|search/look/seek|find/locate/discover|"
        "check/verify/look at/inspect|reservation/booking|flight/trip|flights/trips|provide/give/share/tell me|"
        "details/information/particulars/data|please/kindly|could you/can you/would you/might you|"
        "i will/i'll/i am going to/let me/i shall|now/next/at this point|help/assist|change/modify/alter/adjust|"
        "cancel/call off/drop|confirm/approve/agree to|proceed/go ahead/continue|available/open/free/on offer|"
        "cost/price/fare|total/sum/overall amount|pay/settle/cover|account/profile|sorry/afraid/regretful|"
        "unfortunately/regrettably/sadly|however/but/yet|because/since/as|need/require/want|try/attempt|"
        "again/once more/another time|show/display/list|get/retrieve/obtain/fetch|update/refresh/revise|"
        "issue/problem/trouble|quick/fast/short|thank you/thanks/many thanks|understand/see/get it|"
        "also/too/as well|instead/rather|next/following|current/present/existing|first/to begin with|"
        "then/after that|think/believe|option/choice/possibility|options/choices/possibilities|"
        "user/customer/client|id/identifier|number/figure|today/this day|soon/shortly|"
        "make sure/ensure/be certain|seems/appears/looks|result/outcome/finding|results/outcomes/findings|"
        "page/site/document|website/web page/site|click on/open/follow|visit/go to/open|"
        "collect/gather/bring together|list/enumeration/overview|address/location|near/close to/around|"
        "within/inside of|determine/work out/establish|answer/reply/response|question/query/request|"
        "task/job/assignment|correct/right/accurate|wrong/mistaken/incorrect|policy/rule/guideline|"
        "allowed/permitted|refund/reimbursement|insurance/cover|passenger/traveller|baggage/luggage|"
        "departure/start|arrival/landing|direct/nonstop|morning/early hours|evening/late hours"
    ).split("|")
]
_SYNONYMS: Final = {word.strip(): [other for other in group if other != word] for group in _GROUPS for word in group}
_WORD: Final = re.compile(r"\b(" + "|".join(sorted(map(re.escape, _SYNONYMS), key=len, reverse=True)) + r")\b", re.I)
_OPENINGS: Final = (
    "", "", "", "Alright. ", "Okay, ", "Right: ", "Understood. ", "Got it. ", "Let us see. ", "One moment. ", "Well, ",
    "To continue: ", "As a next step: ", "Following up: ",
)  # fmt: skip
_ENDINGS: Final = (
    "", "", "", "", " I hope that helps.", " Let me know.", " Just a moment.", " That should do it.", " Working on it.",
)  # fmt: skip
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")


def reworded(text: str, dice: Random) -> str:
    """A text in other words: about two thirds of the words that have others are exchanged."""
    sentences = [_exchanged(one, dice) for one in _SENTENCE.split(text) if one]
    if len(sentences) > 2 and dice.random() < 0.4:
        place = dice.randrange(len(sentences) - 1)
        sentences[place], sentences[place + 1] = sentences[place + 1], sentences[place]
    return dice.choice(_OPENINGS) + " ".join(sentences) + dice.choice(_ENDINGS)


def _exchanged(sentence: str, dice: Random) -> str:
    def other(match: re.Match[str]) -> str:
        word = match[0]
        if dice.random() < 0.35:
            return word
        found = dice.choice(_SYNONYMS[word.lower()])
        return found.capitalize() if word[:1].isupper() else found

    return _WORD.sub(other, sentence)


def identifier(dice: Random) -> str:
    """An identifier as one of many systems makes it."""
    letters, digits = string.ascii_letters, string.digits
    hexadecimal = "0123456789abcdef"

    def some(alphabet: str, count: int) -> str:
        return "".join(dice.choices(alphabet, k=count))

    kind = dice.randrange(11)
    if kind == 0:
        parts = [some(hexadecimal, count) for count in (8, 4, 3, 3, 12)]
        return "{}-{}-4{}-a{}-{}".format(*parts)
    return (
        some("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 26),  # ULID
        some(letters + digits + "_-", 20) + some(digits, 1),  # nanoid
        "req_" + some(letters + digits, 14) + some(digits, 2),
        "job-" + some(digits, 5),
        some(hexadecimal, 40),
        f"T{some(digits, 4)}-{some(string.ascii_uppercase, 2)}{some(digits, 3)}",
        "#" + some(digits, 8),
        f"{some(string.ascii_uppercase, 3)}{some(digits, 3)}",
        f"node{some(digits, 2)}.eu-west-{some('123', 1)}.internal:{some(digits, 5)}",
        f"v{some(digits, 1)}.{some(digits, 2)}.{some(digits, 3)}",
    )[kind - 1]


def path(dice: Random) -> str:
    """A path as one of several systems writes it."""
    names = ("build", "run", "cache", "out", "session", "export", "tmp", "part", "data", "work")

    def name() -> str:
        return f"{dice.choice(names)}{dice.choice(('', '-', '_'))}{dice.randrange(10_000)}"

    return dice.choice(
        (
            f"/tmp/{name()}/{name()}.log",
            f"/var/lib/agent/{name()}/{dice.choice(names)}/{name()}",
            f"C:\\Temp\\{name()}\\{name()}.txt",
            f"s3://{dice.choice(names)}-bucket/{name()}/{name()}.json",
            f"https://files.example.com/{name()}?token={identifier(dice)}",
            f"./{dice.choice(names)}/{name()}.csv",
        )
    )


def moment(dice: Random) -> Any:
    """A time as one of several systems writes it, none in any order."""
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(
        seconds=dice.randrange(2_000_000), milliseconds=dice.randrange(1000)
    )
    return dice.choice(
        (
            at.isoformat(),
            at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            at.strftime("%d/%b/%Y:%H:%M:%S"),
            int(at.timestamp()),
            int(at.timestamp() * 1000),
            at.strftime("%H:%M:%S.%f"),
        )
    )


_TOKEN: Final = re.compile(r"[A-Za-z0-9_#-]*\d[A-Za-z0-9_#-]*")


def renumbered(text: str, dice: Random, share: float, known: dict[str, str]) -> str:
    """A text with a share of its numbers and identifiers drawn anew, letters for letters and digits for digits.

    `known` remembers what became of each, so that a result answers to its question.
    """

    def other(match: re.Match[str]) -> str:
        token = match[0]
        if token not in known:
            known[token] = _like(token, dice) if dice.random() < share else token
        return known[token]

    return _TOKEN.sub(other, text)


def _like(token: str, dice: Random) -> str:
    out = []
    for place, one in enumerate(token):
        if one.isdigit():
            out.append(dice.choice("123456789" if place == 0 else string.digits))
        elif one.isupper():
            out.append(dice.choice(string.ascii_uppercase))
        else:
            out.append(one)
    return "".join(out)

"""A small classifier of sentiment by words: English, no model. How good it is: decision 0018."""

from __future__ import annotations

import re
from typing import Final

from pipeline.classification.port import Answer, Verdict

_POSITIVE: Final = frozenset(
    "good great excellent amazing awesome wonderful fantastic superb terrific outstanding brilliant perfect perfectly "
    "best better love loves loved loving like liked likes enjoy enjoyed enjoys enjoyable nice happy happily glad "
    "pleased pleasure delighted delightful delight beautiful beautifully pretty charming lovely fun funny hilarious "
    "entertaining engaging interesting fascinating impressive impressed helpful useful handy easy easily smooth fast "
    "quick reliable sturdy solid comfortable convenient affordable recommend recommended worth worthy win wins won "
    "winner success successful successfully proud thank thanks thankful grateful appreciate appreciated welcome "
    "congratulations yay hope hopeful cool sweet cute smart clever bright warm warmth fresh clean clear crisp strong "
    "powerful moving touching heartfelt compelling inspired inspiring inspiration original rich vivid witty graceful "
    "gorgeous stunning spectacular masterpiece memorable satisfying satisfied safe secure calm kind kindness friendly "
    "generous honest gentle excited exciting thrilling joy joyful laugh laughing smile smiling celebrate peace "
    "freedom benefit benefits improved improvement improve gain gains favorite favourite favor super fine wow "
    "effective efficient flawless intuitive versatile durable rewarding refreshing remarkable intelligent sharp "
    "tender triumph terrifically pleasant pleasantly fabulous ideal bonus hero lucky romantic blessed".split()
)
_NEGATIVE: Final = frozenset(
    "bad worse worst terrible horrible awful poor poorly hate hates hated dislike disliked disappoint disappointed "
    "disappointing disappointment disappointingly sad sadly unhappy angry anger annoyed annoying annoys frustrating "
    "frustrated frustration upset useless worthless broken break breaks broke fail fails failed failure failing "
    "problem problems issue issues trouble wrong error errors flaw flaws flawed fault faulty defective difficult hard "
    "slow slowly boring bored bore dull tedious stupid dumb idiotic silly ridiculous absurd mess messy ugly cheap "
    "flimsy weak lame predictable pointless pretentious shallow contrived bland tired stale clumsy awkward forced lack "
    "lacks lacking lacked waste wasted painful pain hurt hurts hurting sick ill disease death dead die dies died kill "
    "killed killing war attack attacks violence violent threat threats danger dangerous fear afraid scared worry "
    "worried worries crisis crime criminal guilty victim victims sorry regret unfortunately unfortunate loss lose "
    "loses losing lost loser damage damaged destroy destroyed abuse cruel evil ruin ruined nasty disgusting disgust "
    "gross dirty noisy loud uncomfortable inconvenient expensive overpriced complaint complain complained refuse "
    "refused reject rejected deny denied blame lie lies liar cheat scam fraud fake cry crying tears lonely miss "
    "unable cannot crap crappy suck sucks sucked damn shit shitty hell wtf ugh meh disaster catastrophe tragic "
    "tragedy grim bleak harsh bitter hostile accused arrested suspect corruption scandal poverty suffer suffered "
    "suffering struggle struggled stress stressed tiresome unfunny inept incoherent muddled lifeless sloppy".split()
)
_NOT: Final = frozenset(
    "not no never none nobody nothing neither nor without hardly barely scarcely isn't aren't wasn't weren't don't "
    "doesn't didn't won't wouldn't can't couldn't shouldn't ain't haven't hasn't hadn't isnt dont doesnt didnt wont "
    "cant".split()
)
_VERY: Final = frozenset("very really extremely so absolutely incredibly totally truly highly too completely".split())
_WORD: Final = re.compile(r"[a-z]+(?:'[a-z]+)?|[!]|:\)|:-\)|:d|:\(|:-\(|<3")
_MARKS: Final = {":)": 1.0, ":-)": 1.0, ":d": 1.0, "<3": 1.0, ":(": -1.0, ":-(": -1.0}
# Words before a word by which it is turned or strengthened.
REACH: Final = 3
MOST_CHARS: Final = 20_000
# What a sum of words is measured by: one word alone says little of a long answer.
DAMPING: Final = 4.0
NEUTRAL: Final = 0.15


def sentiment(answer: Answer) -> list[Verdict]:
    """How an answer sounds, from -1 (negative) to 1 (positive); nothing where it is not in English."""
    if answer.language not in (None, "en"):
        return []
    words = _WORD.findall(answer.text[:MOST_CHARS].lower().replace("’", "'"))
    if not words:
        return []
    total = weight = 0.0
    for place, word in enumerate(words):
        value = _MARKS.get(word) or (1.0 if word in _POSITIVE else -1.0 if word in _NEGATIVE else 0.0)
        if not value:
            continue
        before = words[max(0, place - REACH) : place]
        if any(one in _VERY for one in before[-2:]):
            value *= 1.5
        if any(one in _NOT for one in before):
            value *= -0.7
        # After "but" comes what is meant.
        if "but" in words[place + 1 : place + 12]:
            value *= 0.6
        total += value
        weight += abs(value)
    score = total / (total * total + DAMPING) ** 0.5 if weight else 0.0
    label = "neutral" if abs(score) < NEUTRAL else "positive" if score > 0 else "negative"
    return [Verdict("sentiment", round(score, 3), label)]

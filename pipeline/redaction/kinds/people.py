"""Persons whom the words around their name give away: a form of address, a greeting, a signature, `my name is`."""

from __future__ import annotations

from typing import Final

from pipeline.redaction.kinds.shape import LINES, Shape, Sought

_UP: Final = r"[A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĖĘĚĞĢĪĮİĶĹĻĽŁŃŅŇŌŐŒŔŘŚŞŠȘŢŤȚŪŮŰŲŹŻŽ]"
_WORD: Final = rf"{_UP}(?:[\w'’-]|\.(?=\w)){{1,30}}"
_NAME: Final = (
    rf"{_WORD}(?:[ ](?:{_UP}\.?[ ]|(?:de|la|da|di|von|van|der|den|bin|al|el|dos|du|le)[ ]){{0,2}}{_WORD}){{0,3}}"
)
_FULL: Final = (
    rf"{_WORD}(?:[ ](?:{_UP}\.?[ ]|(?:de|la|da|di|von|van|der|den|bin|al|el|dos|du|le)[ ]){{0,2}}{_WORD}){{1,3}}"
)
_TITLES: Final = r"Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Madam|Rev|Hon|Herr|Frau|Señora?|Sra|Monsieur|Madame|Mme|Judge|Senator|Officer|Detective|Sgt|Capt|Lt|Col"
_NOT_A_NAME: Final = frozenset(
    "He She They We It's I You Who Someone Nobody Everybody One Both "
    "The A An And But Or If In On At To For Of It This That These Those There Here When Where What Who How Why Not No Yes Sorry Sure "
    "Ok Okay Sir Madam Team All Everyone Customer Support Hiring Manager Committee Friend Colleagues User Users Members Parents "
    "Student Students Readers Editor Santa Diary God Lord Assistant Chatgpt Bot Here Happy Glad Looking Interested Writing "
    "Trying Going Not Just Also Currently Based Working An AI Model Python Java JavaScript Recipient Name Company Your My".split()
)


def _is_name(text: str, start: int, end: int) -> bool:
    words = text[start:end].split()
    return (
        words[0] not in _NOT_A_NAME
        and not text[start:end].isupper()
        and text[end : end + 1] not in ("(", "[", "_", "=")
    )


def people() -> Sought:
    """PERSON by cues; the model's persons stand beside its findings."""
    return Sought("PERSON", (
        Shape("form of address", rf"\b(?:{_TITLES})\.?[ ](?P<v>{_NAME})", 0.7, _is_name),
        Shape("who says so", rf"\b(?i:my name is|name's|this is|i'?m|i am|call me|name appears? .{{0,40}}? to|correct(?:ed)? (?:it )?to)[ ](?P<v>{_FULL})", 0.7, _is_name),
        Shape("my name is", rf"\b(?i:my (?:full |first |last |legal )?name is|call me|signed by|spoke (?:to|with))[ ](?P<v>{_NAME})", 0.6, _is_name),
        Shape("a field", rf"(?im:^|[{{,;(])[\"' ]{{0,2}}(?i:(?:full|first|last|customer|patient|account|card ?holder|contact|sur|family|given|maiden|user|employee)?[ _-]?name|patient|attn|recipient|sender|from|to|cc|signed)[\"']?[ ]?[:=][ \"']{{0,3}}(?P<v>{_FULL})", 0.6, _is_name),
        Shape("greeting", rf"(?m:^)[ \t>]{{0,4}}(?:Dear|Hi|Hello|Hey)[ ](?P<v>{_NAME})(?=[,!\n])", 0.6, _is_name),
        Shape("signature", rf"(?m:^)[ \t>]{{0,4}}(?:(?:Best|Kind|Warm)(?:est)? regards|Regards|Sincerely|Yours (?:truly|sincerely|faithfully)|Cheers|Best|Thanks|Thank you|Love),?[ ]?\n+(?P<v>{_NAME})[ ]*$", 0.6, _is_name, LINES),
        Shape("family", rf"\b(?i:my|his|her|our|their) (?i:kid|son|daughter|wife|husband|brother|sister|mother|father|mom|dad|friend|boss|colleague|neighbou?r|partner|uncle|aunt|cousin|child|boyfriend|girlfriend|fianc[eé]e?|roommate|manager|doctor|lawyer|landlord),? (?P<v>{_NAME})", 0.6, _is_name),
        Shape("named", rf"\b(?i:(?:last|first|full|maiden|sur|middle) ?name(?: is|[?:])|(?:was|is|are|person|man|woman|guy|someone|someone|named|called) (?:called|named)|assistant to|directed by|written by|painted by|composed by|performed by|starring|founded by)[ ](?P<v>{_NAME})", 0.6, _is_name),
        Shape("who lives where", rf"(?<![\w'])(?P<v>{_NAME}),? (?:lives? (?:at|on|in)|was born (?:on|in)|is from|can be reached|called from|wrote:|asked:|replied:)(?!\w)", 0.6, _is_name),
        Shape("first line", rf"\A(?P<v>{_FULL})[ ]?\n", 0.4, _is_name),
        Shape("possession", rf"\b(?P<v>{_WORD} {_WORD})'s (?:account|card|address|phone|e-?mail|order|passport|birthday|number|mother|father|wife|husband|son|daughter)\b", 0.6, _is_name),
        Shape("card for", rf"\b(?i:in the name of|on behalf of|belongs to|registered to|issued to|addressed to|in favou?r of|payable to)[ ](?:{_TITLES})?\.?[ ]?(?P<v>{_NAME})", 0.6, _is_name),
    ))  # fmt: skip

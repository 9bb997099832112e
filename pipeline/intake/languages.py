"""Which language a text is in: by its script, and where that is Latin by its small words. Pure, some microseconds.

Libraries that know a hundred languages take 50 to 130 us a text (py3langid) or a large model; what is wanted here is
that a feature which answers in another language than yesterday is seen. Measured on spaCy's example sentences, see
`tests/unit/test_intake_shapes.py`.
"""

from __future__ import annotations

import re
from typing import Final

LOOKED_AT: Final = 200
# Below so many letters nothing is said.
LEAST_LETTERS: Final = 12
# So many small words must speak for a language.
LEAST_WORDS: Final = 2

# Scripts that belong to one language, or mostly to one. Japanese is told from Chinese by its kana.
_SCRIPTS: Final = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("fa", re.compile(r"[\u067e\u0686\u0698\u06af\u06cc\u06a9]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("bn", re.compile(r"[\u0980-\u09ff]")),
    ("ta", re.compile(r"[\u0b80-\u0bff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_OTHER_SCRIPT: Final = re.compile(r"[\u0370-\u1fff\u3040-\ud7af]")
# A few such letters in a Latin text are names.
_SHARE: Final = 0.3

_SMALL_WORDS: Final[dict[str, str]] = {
    "en": "the of and to in is that for it with was on are as be this by have from or had not but what which you "
    "we they will can has been an at your do if would there their when who how i",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus "
    "er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder "
    "aber vor zur bis mehr durch man ich wir kann ihre ihr sie",
    "fr": "de la le et les des en un du une que est pour qui dans par plus pas au sur ne se ce il sont avec ou "
    "son aux comme mais nous vous je elle leur cette été peut être sa ses",
    "es": "de la que el en y a los del se las por un para con no una su al lo como más pero sus le ya o este sí "
    "porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos está es son",
    "it": "di e il la che in un a per è una sono con non del si da come le dei nel della al più i lo anche alla "
    "ma gli delle ha questo se nella essere o suo degli ci tra",
    "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à "
    "seu sua ou ser quando muito há nos já está eu também só pelo pela até isso",
    "nl": "de van het een en in is dat op te zijn met voor niet aan er die maar om ook als bij nog uit door naar "
    "ze wordt heeft dan worden over kan hij zich ik wij was geen meer tot",
    "sv": "och i att det som en på är av för med till den har de inte om ett han men var jag sig från vi så kan "
    "när år under också efter eller nu sin där vid mot ska",
    "da": "og i at det er en til på som med for af de den har der ikke et var han men om jeg sig vi kan fra så "
    "ved også efter eller nu hvor skal blev",
    "nb": "og i det er på en til som for at med av de ikke den har et han om var men jeg seg vi kan fra så ved "
    "også etter eller nå hvor skal ble",
    "fi": "ja on ei että se hän oli ovat mutta kun tai jos kuin myös sen mitä niin ole joka ne nyt vain olla tämä "
    "kanssa minä sitä sekä mukaan",
    "pl": "w i na z się do nie że to jest o jak za po od dla przez ale są był co tym może ze tak już tylko jego "
    "oraz czy przy jako być lub",
    "cs": "a se v na je že s o z do i to k ve pro za by ale si jako po jsem tak od jsou které který nebo byl však "
    "při už také podle",
    "ro": "și de la în a cu pe că nu un o din mai este care pentru sunt au fi ce al sau prin dar ca se le lui "
    "fost după",
    "hu": "a az és hogy nem is egy ez meg van csak de mint volt már el vagy ha még ki azt be sem lehet kell "
    "minden között",
    "tr": "ve bir bu da de için ile olarak çok daha olan gibi ne en kadar sonra değil ancak var ya ben o her mi "
    "ama olduğu",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga ke karena ada bisa mereka oleh saya "
    "kita atau sudah adalah",
    "vi": "và của là có được cho không các một trong người với này đã những khi để từ về như đến vào ra ở cũng nhưng",
}
_LANGUAGES_OF: Final[dict[str, tuple[str, ...]]] = {
    word: tuple(language for language, words in _SMALL_WORDS.items() if word in words.split())
    for words in _SMALL_WORDS.values()
    for word in words.split()
}
# Letters that few languages have; each speaks like a word.
_LETTERS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys("řěů", ("cs",)), **dict.fromkeys("łąęśźżń", ("pl",)), **dict.fromkeys("őű", ("hu",)),
    **dict.fromkeys("ğı", ("tr",)), **dict.fromkeys("ățșţ", ("ro",)), **dict.fromkeys("ñ¿¡", ("es",)),
    **dict.fromkeys("ãõ", ("pt",)), **dict.fromkeys("ß", ("de",)), **dict.fromkeys("æø", ("da", "nb")),
    **dict.fromkeys("ơưđạảấầẩậắằẳặẹẻẽếềểệỉịọỏốồổộớờởợụủứừửựỳỵỷỹ", ("vi",)), **dict.fromkeys("ò", ("it",)),
    **dict.fromkeys("èùœêûî", ("fr", "it")), **dict.fromkeys("čšž", ("cs",)), **dict.fromkeys("å", ("sv", "da", "nb")),
    **dict.fromkeys("ä", ("de", "sv", "fi")), **dict.fromkeys("ö", ("de", "sv", "fi", "hu", "tr")),
}  # fmt: skip
# Words that English has nearly alone; where so large a part of a text is of them, nothing else is asked.
_ENGLISH: Final = frozenset(
    word for word in _SMALL_WORDS["en"].split() if _LANGUAGES_OF[word] == ("en",) and len(word) > 1
)
_SURELY: Final = 0.25
_WORD: Final = re.compile(r"[^\W\d_]+")
_NO_LETTERS: Final = bytes(code if chr(code).isalpha() else 32 for code in range(128)) + bytes(range(128, 256))


def words_of(text: str) -> list[str]:
    """The runs of letters in a text, in lower case and in order."""
    low = text.lower()
    # The same for ASCII, at a sixth of the cost.
    return low.encode().translate(_NO_LETTERS).decode().split() if low.isascii() else _WORD.findall(low)


def language_of(text: str) -> str | None:
    """ISO 639-1 code of a text's language; None where it is too short, or nothing speaks for any."""
    text = text[:LOOKED_AT]
    if not text.isascii() and _OTHER_SCRIPT.search(text) is not None:
        letters = sum(map(str.isalpha, text))
        foreign = len(_OTHER_SCRIPT.findall(text))
        if foreign >= max(4, _SHARE * letters):
            # One letter of its own decides where scripts are shared.
            return next((language for language, script in _SCRIPTS if script.search(text)), None)
    words = words_of(text)
    if len(words) < LEAST_WORDS or sum(map(len, words)) < LEAST_LETTERS:
        return None
    if sum(map(_ENGLISH.__contains__, words)) >= _SURELY * len(words):
        return "en"
    votes: dict[str, int] = {}
    spoken = 0
    for word in words:
        languages = _LANGUAGES_OF.get(word)
        if languages is not None:
            spoken += 1
            # A word of many languages says little of each.
            weight = 6 // len(languages) or 1
            for language in languages:
                votes[language] = votes.get(language, 0) + weight
    for letter in _NOT_ASCII.findall(text):
        languages = _LETTERS.get(letter.lower())
        if languages is not None:
            spoken += 1
            for language in languages:
                votes[language] = votes.get(language, 0) + 6 // len(languages)
    if spoken < LEAST_WORDS:
        return None
    best = max(votes.values())
    # Of equals the first in the table: the more frequent language.
    return next(language for language in _SMALL_WORDS if votes.get(language) == best)

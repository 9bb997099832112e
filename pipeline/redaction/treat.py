"""What is done with findings, by policy: which types count, and what stands in the place of each. Pure.

A treatment is a value: made once for a tenant and a version of its policy, and used for every text of both. One engine
serves all of them, because it finds everything and the treatment chooses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.control import Action

# replace    <TYPE>
# mask       * for each character, the last few may stay
# drop       nothing
# pseudonym  <TYPE:token>, the same for the same value of one tenant; keyed, cannot be turned back
# encrypt    <TYPE:!token>, to be opened by whoever holds the key
NUMBERS: Final = frozenset(
    {"PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "US_BANK_NUMBER", "UK_NHS", "US_ITIN"}
)
"""Types that are the same value however their characters are grouped."""
_GROUPING: Final = re.compile(r"[\s().\-/+]+")

Token = Callable[[str, str], str]
"""(type, value) to the token that stands for it."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """How the findings of one tenant's texts are treated.

    Attributes:
        entities: types that are looked for; None: all that the engine finds.
        without: types that are left as they are.
        action: what is done with types that `actions` does not name.
        actions: what is done, by type.
        keep_last: characters at the end of a masked value that stay, 0 to 4.
        pseudonym: makes the token of a pseudonym; without one, values are replaced.
        encrypt: makes the token of an encrypted value; without one, values are replaced.
        canary: a value that must never be seen in what comes out.
        names: whether the model of names is asked, where there is one.
    """

    entities: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    action: Action = "replace"
    actions: Mapping[str, Action] = field(default_factory=dict)
    keep_last: int = 0
    pseudonym: Token | None = None
    encrypt: Token | None = None
    canary: str = ""
    names: bool = True

    def wants(self, entity: str) -> bool:
        """Whether findings of a type count."""
        return (self.entities is None or entity in self.entities) and entity not in self.without

    def instead(self, entity: str, value: str) -> str:
        """What stands in the place of a value."""
        action = self.actions.get(entity, self.action)
        if action == "drop":
            return ""
        if action == "mask":
            # A short value is masked whole: its last characters would be most of it.
            kept = self.keep_last if len(value) >= 3 * self.keep_last else 0
            return "*" * (len(value) - kept) + value[len(value) - kept :]
        if action == "pseudonym" and self.pseudonym is not None:
            return f"<{entity}:{self.pseudonym(entity, same(entity, value))}>"
        if action == "encrypt" and self.encrypt is not None:
            return f"<{entity}:!{self.encrypt(entity, value)}>"
        return f"<{entity}>"

    def shows_canary(self, text: str) -> bool:
        """Whether the canary can be seen in a text that is to be stored, however it is written."""
        if not self.canary:
            return False
        if self.canary in text:
            return True
        if text.isascii():
            return False
        plain = unicodedata.normalize("NFKC", text)
        return self.canary in "".join(c for c in plain if unicodedata.category(c) != "Cf")


PLAIN: Final = Treatment()
"""Every finding is replaced by its type."""


def same(entity: str, value: str) -> str:
    """A value in the one form that all ways of writing it share."""
    plain = unicodedata.normalize("NFKC", value)
    plain = "".join(c for c in plain if unicodedata.category(c) != "Cf").casefold()
    return _GROUPING.sub("", plain) if entity in NUMBERS else " ".join(plain.split())

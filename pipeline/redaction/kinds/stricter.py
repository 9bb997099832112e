"""Presidio's recognisers of addresses in nets with what they are not sure of asked for.

`a::b` is no address, `self.in` no domain, and `reports/jo@example.org` is mail. The patterns stay Presidio's; what is
added is code.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

import regex
import tldextract
from presidio_analyzer.predefined_recognizers import EmailRecognizer, IpRecognizer, UrlRecognizer

from pipeline.remembered import Remembered


class Mail(EmailRecognizer):  # type: ignore[misc]
    """Mail addresses as Presidio finds them, whatever stands before the `@`.

    Presidio asks the list of public suffixes about the whole match, which ends at a slash for the list's reader.
    """

    def validate_result(self, pattern_text: str) -> bool:
        """Whether a match ends in a domain that can be registered."""
        domain = pattern_text.rpartition("@")[2]
        return _DOMAINS[domain]


def _is_domain(name: str) -> bool:
    return bool(tldextract.extract(name).fqdn)


# Over all tenants: about 1 MB.
_DOMAINS: Final = Remembered(_is_domain, most=8_192, longest=64)


class Addresses(IpRecognizer):  # type: ignore[misc]
    """IP addresses as Presidio finds them, without scope operators, times and versions."""

    def invalidate_result(self, pattern_text: str) -> bool | None:
        """Whether a match is no address, or one that names nothing (`::`, `a::b`)."""
        bare = pattern_text.split("/", 1)[0]
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            return True
        if address.version == 4:
            return False
        groups = [g for g in bare.split(":") if g]
        if "." in bare:
            return False
        # An address in use has three groups, or a group that is no word and no small number.
        telling = [g for g in groups if len(g) > 2 and any(c.isdigit() for c in g)]
        return len(groups) < 3 and not telling and bare != "::1"


# What ends like a domain in code and file names far more often than in prose.
_FILES: Final = frozenset(
    "py rs sh md ml pl ps ts cc cs js in is it so id to do as at be by us me my no im am pm ai io app zip mov java name "
    "info data map call next run find first date tools video link art red pink blue black select style click page post "
    "help now one plus top trade work works world zone center code design dev email fit foundation gold group host link "
    "media menu network online photo pub report review rest rip sale save school search security select services site "
    "space store studio style support systems target team tech tools trading training travel tube watch web wiki".split()
)
_OBJECTS: Final = frozenset(
    "self this cls np pd plt tf os sys re df obj root node math json time np torch nn ax fig data item items list map res "
    "req app ctx db console window document module process string arr result response request user config input output "
    "array object value model file path e i j k x y a b n s t p q r c d f g h l m o u v w z main index test utils setup "
    "std fmt cv plt sns driver session client server context event element el el1 package math random datetime".split()
)
_GOES_ON: Final = regex.compile(r"[\w(\[=]|\.\w|-\w")

_LABELS: Final = regex.compile(r"(?:https?://)?(?P<host>[^/?#:\"']+)(?P<rest>.*)", regex.DOTALL)


class Domains(UrlRecognizer):  # type: ignore[misc]
    """Addresses in the web as Presidio finds them, without members of objects and names of files."""

    def accepts(self, text: str, start: int, end: int) -> bool:
        """Whether a match ends where a name ends: the `.re` of `soup.replace(` is no country."""
        return "://" in text[start:end] or not _GOES_ON.match(text, end, end + 2)

    def analyze(self, text: str, entities: Any, nlp_artifacts: Any = None, regex_flags: int | None = None) -> list[Any]:
        """Presidio's findings that are accepted."""
        found = super().analyze(text, entities, nlp_artifacts, regex_flags)
        return [r for r in found if self.accepts(text, r.start, r.end)]

    def invalidate_result(self, pattern_text: str) -> bool | None:
        """Whether a match without a scheme is rather code (`self.in`, `file.py`)."""
        text = pattern_text.strip("\"'")
        if "://" in text or text[:4].lower() == "www.":
            return False
        match = _LABELS.match(text)
        if match is None:
            return False
        host, rest = match["host"], match["rest"]
        labels = host.split(".")
        if labels[-1].lower() in _FILES:
            if rest.startswith("/"):
                return len(labels) == 2 and labels[0].lower() in _OBJECTS
            return len(labels) == 2 or labels[0].lower() in _OBJECTS
        if labels[0].lower() in _OBJECTS or not labels[0]:
            return len(labels) <= 3 and not rest
        # `Response.name`, `i.e.example`: a capital inside is a class, single letters are no labels.
        return any(c.isupper() for c in host[1:]) and not host.isupper() and not rest

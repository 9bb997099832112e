"""Judge whether a readable identifier (a tenant, a feature, a model) carries structured personal data.

Made for names, not for prose: patterns work where words have no borders (`host_192.168.17.45`), and what ordinary
names look like (versions, dates, counters, random ids) passes. Personal names in words are not looked for. A name that
does not pass is not lost: its caller keeps a keyed hash instead, so a doubt is cheap and goes against the name.

Looked for: e-mail, payment card, US social security and tax numbers, NHS number, IP and MAC address, phone, IBAN and
Bitcoin address; and by the shapes of text (`named`) every secret, streets, dates of birth, and numbers of accounts,
passports and licences behind a word that says so. Not looked for, because ordinary names look just like them: other
dates, UUIDs, host names, bare numbers.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

import phonenumbers

from pipeline.redaction.named import says_more_than_a_name

_MAX_CHARS: Final = 512
_CACHED: Final = 65_536
_KEY: Final = os.urandom(32)
_verdicts: dict[bytes, bool] = {}

_HARMLESS: Final = re.compile(r"[A-Za-z_./ -]*")
_SHORTEST_SECRET: Final = 20
_RUN: Final = re.compile(r"\d+(?:[-_. /()]{1,2}\d+)*")
_DIGITS: Final = re.compile(r"\d+")
_INTERNATIONAL: Final = re.compile(r"\+[-_. /()]{0,2}\d(?:[-_. /()]{0,2}\d){6,}")
_IPV4: Final = re.compile(r"(?<!\d)\d{1,3}(?:\.\d{1,3}){3,}(?!\d)")
_DASHED_IPV4: Final = re.compile(r"(?<!\d)(?<!\d[-_])\d{1,3}(?:[-_]\d{1,3}){3}(?![-_]?\d)")
_IPV6: Final = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_HEX: Final = "0-9A-Fa-f"
_MAC: Final = re.compile(
    rf"(?<![{_HEX}])[{_HEX}]{{2}}([-:_])(?:[{_HEX}]{{2}}\1){{4}}[{_HEX}]{{2}}(?![{_HEX}])"
    rf"|(?<![{_HEX}])(?=[a-fA-F.]*\d)[{_HEX}]{{4}}\.[{_HEX}]{{4}}\.[{_HEX}]{{4}}(?![{_HEX}])"
)
_IBAN: Final = re.compile(r"(?=([A-Za-z]{2}\d{2}(?:[-_. ]?[A-Za-z0-9]){11,30}))")
_BITCOIN: Final = re.compile(r"(?<![A-Za-z0-9])[13][1-9A-HJ-NP-Za-km-z]{25,34}(?![A-Za-z0-9])")
_UUID: Final = re.compile(rf"[{_HEX}]{{8}}(?:-[{_HEX}]{{4}}){{3}}-[{_HEX}]{{12}}")
_BECH32: Final = re.compile(r"bc1[ac-hj-np-z02-9]{25,87}", re.IGNORECASE)
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

# Country and length of an IBAN (ISO 13616, IBAN registry).
_IBAN_CHARS: Final = {
    country: int(size)
    for size, countries in {
        "15": "NO",
        "16": "BE",
        "18": "DK FI FK FO GL NL SD",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ DZ ES MD PK RO SA SE SK TN VG",
        "25": "AO CV LY MZ PT ST",
        "26": "IR IS TR",
        "27": "BF BI BJ CF CG CI CM DJ FR GA GQ GR IT KM MC MG ML MR NE SM SN TD TG",
        "28": "AL AZ BY CY DO GT GW HN HU LB MA NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU YE",
        "31": "MT SC",
        "32": "LC",
        "33": "RU",
    }.items()
    for country in countries.split()
}


def is_clean_identifier(value: str) -> bool:
    """Whether an identifier may be kept readable.

    Args:
        value: the identifier; anything longer than 512 characters is no identifier and not clean.
    """
    if len(value) > _MAX_CHARS:
        return False
    if len(value) < _SHORTEST_SECRET and _HARMLESS.fullmatch(value):
        return True
    key = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=_KEY, digest_size=16).digest()
    verdict = _verdicts.get(key)
    if verdict is None:
        if len(_verdicts) >= _CACHED:
            _verdicts.clear()
        verdict = _verdicts[key] = not _is_personal(value)
    return verdict


def _is_personal(value: str) -> bool:
    value = _plain(value)
    if "@" in value or "%40" in value:
        return True
    if any(
        check(value) for check in (_INTERNATIONAL.search, _MAC.search, _BECH32.search, _has_ip, _has_iban, _has_bitcoin)
    ):
        return True
    if any(_is_number_of_a_person(row) for row in _digit_rows(_UUID.sub("|", value))):
        return True
    return says_more_than_a_name(value)


def _plain(value: str) -> str:
    """Look-alikes of digits and letters made plain, invisible characters removed."""
    if value.isascii():
        return value
    visible = (c for c in unicodedata.normalize("NFKC", value) if unicodedata.category(c) != "Cf")
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in visible)


class _Row(NamedTuple):
    """Neighbouring groups of digits: `before` is the group in front of them, `glued` whether a letter touches them."""

    groups: list[str]
    before: str
    glued: bool


def _digit_rows(value: str) -> Iterator[_Row]:
    """Each row of neighbouring digit groups that has as many digits as the numbers of people have."""
    for run in _RUN.finditer(value):
        groups = _DIGITS.findall(run.group())
        left, right = value[: run.start()][-1:].isalpha(), value[run.end() :][:1].isalpha()
        for first in range(len(groups)):
            chars = 0
            for last in range(first, len(groups)):
                chars += len(groups[last])
                if chars > 19:
                    break
                if chars >= 9:
                    glued = (left and first == 0) or (right and last == len(groups) - 1)
                    yield _Row(groups[first : last + 1], groups[first - 1] if first else "", glued)


def _is_number_of_a_person(row: _Row) -> bool:
    digits, shape = "".join(row.groups), [len(g) for g in row.groups]
    if shape == [3, 2, 4]:  # social security, also where the issuer never gave such a number
        return True
    if shape == [3, 3, 4] and _passes_mod_11(digits):  # NHS
        return True
    return _is_card(digits, shape) or _is_phone(digits, shape, row)


def _is_card(digits: str, shape: list[int]) -> bool:
    if not 13 <= len(digits) <= 19:
        return False
    if len(shape) == 1:
        # 1 and most of 2 are points in time, written as milliseconds or as a date with a time of day.
        plausible = digits[0] in "3456" or (len(digits) == 16 and "2221" <= digits[:4] <= "2720")
    else:
        plausible = digits[0] in "123456" and shape[0] == 4 and all(3 <= n <= 6 for n in shape)
    return plausible and _passes_luhn(digits)


def _passes_luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (sum(int(d) for d in digits[-1::-2]) + sum(doubled)) % 10 == 0


def _passes_mod_11(digits: str) -> bool:
    return sum(int(d) * weight for d, weight in zip(digits, range(10, 0, -1), strict=True)) % 11 == 0


def _is_phone(digits: str, shape: list[int], row: _Row) -> bool:
    if row.glued:  # part of a random id
        return False
    north_american = shape in ([10], [3, 3, 4], [3, 7], [6, 4]) or (
        digits[0] == "1" and shape in ([11], [4, 3, 4], [1, 3, 3, 4], [1, 10], [1, 3, 7])
    )
    if north_american and digits[-10] in "23456789" and digits[-7] in "23456789":
        return len(shape) > 2 or _is_valid_phone(digits, ("US",))
    if digits[0] != "0" or shape[0] == 1 or len(digits) > 16 or _is_year(row.before):
        return False
    return _is_valid_phone(digits, ("GB", "DE", "FR", "IL", "IN", "BR"))


def _is_year(group: str) -> bool:
    return len(group) == 4 and group[:2] in ("19", "20")


def _is_valid_phone(digits: str, regions: tuple[str, ...]) -> bool:
    for region in regions:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(digits, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


def _has_ip(value: str) -> bool:
    for found in _IPV4.finditer(value):
        octets = [int(o) for o in found.group().split(".")]
        if any(max(octets[i : i + 4]) <= 255 for i in range(len(octets) - 3)):
            return True
    if any(_is_dashed_ip(found.group(), value[: found.start()]) for found in _DASHED_IPV4.finditer(value)):
        return True
    return any(_has_ipv6(found.group()) for found in _IPV6.finditer(value))


def _is_dashed_ip(found: str, before: str) -> bool:
    """Four octets in a row are an address after "ip", or if one of them is too big for an ordinary counter."""
    octets = [int(o) for o in _DIGITS.findall(found)]
    return max(octets) <= 255 and (before.lower().endswith(("ip-", "ip_")) or max(octets) > 99)


def _has_ipv6(run: str) -> bool:
    """Whether any part of a run of hexadecimal digits, colons and points is an address."""
    groups = run.split(":")
    return any(
        _is_ipv6([groups[first].rpartition(".")[2][-4:], *groups[first + 1 : last], groups[last].partition(".")[0][:4]])
        for first in range(len(groups))
        for last in range(first + 2, min(first + 9, len(groups)))
    )


def _is_ipv6(groups: list[str]) -> bool:
    # `v1::chat` is a name, `fe80::1` is not.
    telling = [g for g in groups if g]
    if len(telling) < 3 and not any(len(g) > 2 and any(c.isdigit() for c in g) for g in telling):
        return False
    try:
        ipaddress.IPv6Address(":".join(groups))
    except ValueError:
        return False
    return True


def _has_iban(value: str) -> bool:
    for found in _IBAN.finditer(value):
        chars = re.sub(r"[-_. ]", "", found.group(1)).upper()
        size = _IBAN_CHARS.get(chars[:2], 99)
        if len(chars) >= size and int("".join(str(int(c, 36)) for c in chars[4:size] + chars[:4])) % 97 == 1:
            return True
    return False


def _has_bitcoin(value: str) -> bool:
    for found in _BITCOIN.finditer(value):
        number = 0
        for c in found.group():
            number = number * 58 + _BASE58.index(c)
        if number.bit_length() > 200:
            continue
        raw = number.to_bytes(25, "big")
        if hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]:
            return True
    return False

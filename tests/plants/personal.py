"""Numbers and addresses of people, drawn at random, with what people write before them. Kind -> (words before, maker)."""

from __future__ import annotations

import ipaddress
import random

from tests.plants.secrets import DIGITS, LOWER, UPPER, Make, run


def email(rng: random.Random) -> str:
    name = rng.choice(["{0}.{1}", "{0}_{1}", "{0}{1}", "{0}+{1}", "{0}-{1}"]).format(
        run(LOWER, 6)(rng), run(LOWER, 7)(rng)
    )
    return f"{name}@{run(LOWER, 9)(rng)}.{rng.choice(['com', 'org', 'net', 'de', 'co.uk', 'io', 'fr'])}"


def card(rng: random.Random) -> str:
    digits = rng.choice(["4", "51", "52", "53", "54", "55", "6011", "37", "34"])
    size = 15 if digits in ("37", "34") else 16
    digits += "".join(rng.choices(DIGITS, k=size - 1 - len(digits)))
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if place % 2 == 0 else 1)
        total += number - 9 if number > 9 else number
    digits += str((10 - total % 10) % 10)
    gap = rng.choice(["", " ", "-"])
    return gap.join(digits[i : i + 4] for i in range(0, size, 4)) if size == 16 else digits


def phone(rng: random.Random) -> str:
    area, exchange, line = (
        rng.choice(["202", "212", "415", "617", "303", "512"]),
        rng.randint(220, 999),
        rng.randint(0, 9999),
    )
    shape = rng.choice(
        ["({0}) {1}-{2:04d}", "{0}-{1}-{2:04d}", "+1 {0} {1} {2:04d}", "+1-{0}-{1}-{2:04d}", "{0}.{1}.{2:04d}"]
    )
    return shape.format(area, exchange, line)


def foreign_phone(rng: random.Random) -> str:
    return rng.choice(
        [
            f"+44 20 7{rng.randint(100, 999)} {rng.randint(1000, 9999)}",
            f"+49 30 {rng.randint(2000000, 9999999)}",
            f"+33 1 {rng.randint(40, 59)} {rng.randint(10, 99)} {rng.randint(10, 99)} {rng.randint(10, 99)}",
        ]
    )


def ssn(rng: random.Random) -> str:
    area = rng.choice([n for n in range(1, 900) if n != 666])
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"


def iban(rng: random.Random) -> str:
    bank, account = run(DIGITS, 8)(rng), run(DIGITS, 10)(rng)
    check = 98 - int(bank + account + "131400") % 97  # DE is 13 14
    value = f"DE{check:02d}{bank}{account}"
    return value if rng.random() < 0.5 else " ".join(value[i : i + 4] for i in range(0, len(value), 4))


def ipv4(rng: random.Random) -> str:
    return f"{rng.randint(11, 223)}.{rng.randint(100, 255)}.{rng.randint(100, 255)}.{rng.randint(1, 254)}"


def ipv6(rng: random.Random) -> str:
    return str(ipaddress.IPv6Address(rng.getrandbits(125) | (1 << 125)))


def mac(rng: random.Random) -> str:
    return ":".join(f"{rng.randrange(256):02x}" for _ in range(6))


def birth(rng: random.Random) -> str:
    return f"{rng.randint(1, 12):02d}/{rng.randint(10, 28)}/{rng.randint(1930, 2008)}"


def street(rng: random.Random) -> str:
    name = rng.choice(UPPER) + run(LOWER, 7)(rng)
    return f"{rng.randint(100, 9999)} {name} {rng.choice(['Street', 'Avenue', 'Road', 'Lane', 'Drive', 'Blvd'])}"


KINDS: dict[str, tuple[str, Make]] = {
    "email": ("", email),
    "card": ("", card),
    "phone": ("", phone),
    "foreign phone": ("", foreign_phone),
    "social security number": ("", ssn),
    "iban": ("", iban),
    "ipv4": ("", ipv4),
    "ipv6": ("", ipv6),
    "mac": ("", mac),
    "date of birth": ("date of birth: ", birth),
    "street": ("", street),
    "passport": ("passport number ", lambda r: r.choice(UPPER) + run(DIGITS, 8)(r)),
    "bank account": ("bank account number ", run(DIGITS, 11)),
    "driving licence": ("driver's license ", lambda r: r.choice(UPPER) + run(DIGITS, 9)(r)),
}

"""Persons by Faker, none of them real: the personal data that ordinary traffic carries and redaction must take out."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from faker import Faker

LOCALES: Final = ["en_US", "en_GB"]
MONTHS: Final = ("January", "March", "April", "June", "July", "September", "October", "December")


@dataclass(frozen=True, slots=True)
class Person:
    """One made-up person; every field is personal data."""

    name: str
    first: str
    email: str
    phone: str
    card: str
    address: str
    ssn: str
    iban: str
    birthday: str
    ip: str


def people(rng: Random, count: int) -> tuple[Person, ...]:
    """`count` persons, the same for the same state of `rng`."""
    faker = Faker(LOCALES)
    faker.seed_instance(rng.getrandbits(64))
    return tuple(_person(faker) for _ in range(count))


def _person(faker: Faker) -> Person:
    first, last = faker.first_name(), faker.last_name()
    return Person(
        name=f"{first} {last}",
        first=first,
        email=f"{first}.{last}@{faker.domain_name()}".lower(),
        # An exchange begins with 2 to 9 and its second digit here is no 1, so that the number is a possible one.
        phone=f"+1 212-{faker.random_int(2, 9)}{faker.random_int(2, 9)}{faker.numerify('#-####')}",
        card=faker.credit_card_number(card_type="visa16"),
        address=f"{faker.building_number()} {faker.street_name()}, {faker.city()}",
        ssn=f"{faker.random_int(100, 665)}-{faker.random_int(10, 99)}-{faker.random_int(1000, 9999)}",
        iban=faker.iban(),
        # Faker's own dates hang on today's.
        birthday=f"{faker.random_element(MONTHS)} {faker.random_int(1, 28)}, {faker.random_int(1941, 2004)}",
        ip=faker.ipv4_public(),
    )

"""What people ask and models answer, by trade, with holes for a person's data. Data and one function; no numbers.

Texts repeat, as they do in products: system prompts, greetings and standard answers are the same thousands of times.
"""

from __future__ import annotations

from random import Random
from typing import Final

from demo.people import Person

SYSTEM: Final = "You are a careful assistant of {tenant}. Answer briefly, ask when unsure, and never guess a number."

ASKS: Final[dict[str, tuple[str, ...]]] = {
    "bank": (
        "My name is {name} and my card {card} was charged twice on Tuesday. Please call me at {phone}.",
        "I moved to {address}. Can you change it? My email is {email}.",
        "Please send 420 euros to {iban}, it is for my landlord.",
        "What does it cost to keep the account in another currency?",
        "I cannot log in from {ip}, it says that the device is unknown.",
    ),
    "health": (
        "Patient {name}, born {birthday}, SSN {ssn}, reports headaches for three weeks; call back at {phone}.",
        "This is {name}. Can I move my appointment to Thursday afternoon? You reach me under {email}.",
        "Is it all right to take ibuprofen together with my blood pressure tablets?",
        "Please send the referral letter to {address}.",
        "How long before the blood test should I stop eating?",
    ),
    "insurance": (
        "Claim by {name}, {address}: water damage in the kitchen, about 3,200 dollars. Phone {phone}.",
        "My broker is {name}, {email}. Does the policy cover a bicycle that was locked outside?",
        "I had an accident yesterday near {address}. What do you need from me?",
        "Refund the premium to card {card}, please.",
        "What is the deductible if a storm breaks a window?",
    ),
    "shop": (
        "Hi, I am {name}. Order 88213 never came; it should go to {address}.",
        "Can I pay with {card} and have it delivered on Friday?",
        "Which of the two jackets is warmer?",
        "Please send the invoice to {email}.",
        "Does the lamp come with a bulb?",
    ),
    "travel": (
        "Two adults and a child to Lisbon in May; I am {name}, {email}.",
        "Please hold the room for {name}, card {card}, arriving late.",
        "Is breakfast included, and how far is it to the beach?",
        "Our flight was cancelled. Call me at {phone}, I am at the airport.",
        "What is a quiet place near the lake for four days?",
    ),
    "learning": (
        "My teacher {name} says the essay needs a stronger thesis. Can you help?",
        "Why does ice float on water?",
        "Please mail my certificate to {email}; my name is {name}.",
        "Can you explain fractions with an example from cooking?",
        "I was born on {birthday}. How many days old am I?",
    ),
    "software": (
        "The build fails since the last merge: a test of the parser times out. Can you look?",
        "Write a migration that adds an index on created_at.",
        "User {email} reports a crash after login from {ip}.",
        "Please review the patch by {name}, it touches the session store.",
        "How do I stream the response without keeping it in memory?",
    ),
    "logistics": (
        "Driver {name} is stuck in traffic, phone {phone}; the load goes to {address}.",
        "Customs asks for the invoice of consignee {name}, {email}.",
        "What does a pallet to Rotterdam cost this week?",
        "The gate code for {address} does not work.",
        "Which forms do I need for spare parts?",
    ),
    "media": (
        "Transcript: the council met on Monday; {name} spoke for the residents of {address}.",
        "Reader {name}, {email}, complains about the headline.",
        "Summarise the interview in three sentences.",
        "Is this comment within the rules: 'I do not agree, and here is why'?",
        "Find what was written about the bridge in spring.",
    ),
}
FOLLOW_UPS: Final = (
    "Thank you. And how long will it take?",
    "Can you put that in simpler words?",
    "Yes, please go ahead.",
    "No, the other one.",
    "Could you send me a confirmation to {email}?",
    "And what does that cost?",
    "You can also ask for {name}.",
    "That is all, thanks!",
)
ANSWERS: Final = (
    "I have noted that and passed it on; you will hear from us within two working days.",
    "Yes, that is possible. Shall I go ahead with it?",
    "Thank you, {first}. I have updated the record and sent a confirmation to {email}.",
    "Here is the short version: it depends on the date, and in your case nothing changes.",
    "That usually takes one to three days. I will write as soon as it is done.",
    "I am sorry for the trouble, {first}. I found the entry and corrected it.",
    "The answer is yes in most cases; there are two exceptions, which I list below.",
    "Let me check. It is covered, and there is nothing else that you need to do.",
)
SUMMARIES: Final = (
    "Summary: {name} asks for a change of address; no other action needed.",
    "Summary: a duplicate charge is disputed; call back requested.",
    "Summary: documents are complete, one signature is missing.",
    "Summary: question about cover; answer drafted, waiting for approval.",
    "Summary: urgent, to be handled today by the person on duty.",
)
LABELS: Final = ("billing", "delivery", "account", "technical", "praise", "other")
COMMENTS: Final = (
    "That helped.",
    "Wrong order, I asked for something else.",
    "{name} here: still waiting.",
    "Perfect!",
)
REFUSAL: Final = "I cannot help with that."


def say(rng: Random, phrases: tuple[str, ...], person: Person, tenant: str = "") -> str:
    """One of the phrases, with the person's data in its holes."""
    return fill(rng.choice(phrases), person, tenant)


def fill(phrase: str, person: Person, tenant: str = "") -> str:
    """A phrase with the person's data in its holes."""
    if "{" not in phrase:
        return phrase
    return phrase.format(
        tenant=tenant, name=person.name, first=person.first, email=person.email, phone=person.phone, card=person.card,
        address=person.address, ssn=person.ssn, iban=person.iban, birthday=person.birthday, ip=person.ip,
    )  # fmt: skip

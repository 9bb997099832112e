"""The jobs of `keep`, one a module. Each can be ended at any point and run again: what it did, it finds done."""

from __future__ import annotations

from agents.keeping.anchor import Anchor
from agents.keeping.copy import Copy
from agents.keeping.expiry import Expiry
from agents.keeping.heads import Heads
from agents.keeping.janitor import Janitor
from agents.keeping.job import Job
from agents.keeping.losses import Losses
from agents.keeping.repricings import Repricings
from agents.keeping.sweeps import Sweeps


def jobs() -> list[Job]:
    """Every job, in the order in which they are run when several are due."""
    copy = Copy()
    heads = Heads(copy)
    return [copy, heads, Losses(), Expiry(), Sweeps(), Janitor(), Repricings(), Anchor(copy, heads)]

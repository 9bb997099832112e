"""Which raw records nobody needs any more: those whose row and fact exist, and before which no stage would resume.

Pure. Must not guess: without a fact, a clean record and a ledger of the same incarnation of the topic nothing may go.
"""

from __future__ import annotations

from schemas.fact import Fact
from schemas.ledger import State


def bound(epoch: int, state: State | None, fact: Fact | None, clean: Fact | None) -> int:
    """Raw offset below which every record has its row (DONE), its fact and its clean record.

    A record of `llm.facts` or `llm.calls` vouches for everything before the range it was made in (`first`), whatever
    holes lie in front of it, because a range is begun only after all before it was delivered. That is also where the
    stage that wrote it would resume, so it still finds what it would read.

    Args:
        epoch: Incarnation of the raw topic as it is now.
        state: Fold of the partition's ledger, None where there is none.
        fact: Last fact of the partition.
        clean: Fact of its last clean record.
    """
    if state is None or fact is None or clean is None:
        return 0
    if not state.epoch == fact.position.epoch == clean.position.epoch == epoch:
        return 0
    return min(state.next, fact.first, clean.first)

"""What `act` writes into its log, which cannot be erased row by row."""

from __future__ import annotations

from agents.act import nameless
from schemas.anomaly import Anomaly, Span


def test_a_log_line_says_the_finding_without_the_persons_pseudonym() -> None:
    finding = Anomaly(
        "1", "cost.spike", 1, "SEV2", "open", 1, {"tenant": "acme", "user": "0123abcd"}, Span(0, 1), None, None, None,
        None, "USD", (), "tenant acme user 0123abcd cost $2.00 in 5 minutes.", "", 0, 0,
    )  # fmt: skip
    assert nameless(finding) == "tenant acme user <user> cost $2.00 in 5 minutes."

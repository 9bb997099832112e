"""The outcome of a chaos run as JSON, and as the page `docs/reference/reliability.md`."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.chaos.judge import Judgement
from tests.chaos.planner import KINDS
from tests.chaos.player import Outcome, Played
from tests.chaos.proofs import Proof

BEGIN = "<!-- chaos run: written by python -m tests.chaos.run --report -->"
# A run of so many faults holds at least so many of each kind, between INTENT and DONE, and true zombies.
LONG, EACH, BETWEEN, ZOMBIES = 200, 15, 30, 15
END = "<!-- end of chaos run -->"


@dataclass(frozen=True)
class Result:
    """All of a run."""

    seed: int
    faults: int
    played: Played
    judgement: Judgement
    proofs: dict[int, Proof]
    seconds: float

    @property
    def problems(self) -> list[str]:
        """Whatever does not hold."""
        faults = [
            f"fault {one.number} ({one.fault.kind}): {one.problem}"
            for one in self.played.outcomes
            if one.problem and not one.problem.startswith("missed")
        ]
        return [*self.played.problems, *faults, *self._too_few(), *self.judgement.problems]

    def _too_few(self) -> list[str]:
        """What a long run promises beside its verdicts."""
        missed = sum(one.hit is None for one in self.played.outcomes)
        found = [f"{missed} of {self.faults} faults missed their moment"] if missed > self.faults // 10 else []
        if self.faults >= LONG:
            found += [f"only {count} faults of kind {kind}" for kind, count in self.by_kind.items() if count < EACH]
            found += [f"only {self.between} faults between INTENT and DONE"] if self.between < BETWEEN else []
            found += [f"only {self.zombies} true zombies"] if self.zombies < ZOMBIES else []
        return found

    @property
    def by_kind(self) -> dict[str, int]:
        """Faults that hit, by kind."""
        counts = Counter(one.fault.kind for one in self.played.outcomes if one.hit is not None)
        return {kind: counts[kind] for kind in KINDS}

    @property
    def between(self) -> int:
        """Faults between INTENT and DONE."""
        return sum(proof.between for proof in self.proofs.values())

    @property
    def zombies(self) -> int:
        """True zombies."""
        return sum(proof.zombie for proof in self.proofs.values())

    def back(self, kind: str) -> list[float]:
        """Seconds until the next range was done, of the faults of a kind."""
        return sorted(one.back_s for one in self.played.outcomes if one.fault.kind == kind and one.back_s is not None)


def as_json(result: Result) -> dict[str, Any]:
    """For machines."""
    judged = result.judgement
    return {
        "chaos": {
            "seed": result.seed,
            "faults": len(result.played.outcomes),
            "events": result.played.count,
            "sent_again": len(result.played.again),
            "lost": judged.lost,
            "twice": judged.twice,
            "anomalies_twice": judged.anomalies_twice,
            "windows": judged.windows,
            "windows_differ": judged.windows_differ,
            "verify": judged.verify,
            "by_kind": result.by_kind,
            "between_intent_and_done": result.between,
            "true_zombies": result.zombies,
            "seconds": result.seconds,
        },
        "judgement": asdict(judged),
        "problems": result.problems,
        "outcomes": [_line(one, result.proofs.get(one.number, Proof())) for one in result.played.outcomes],
    }


def _line(one: Outcome, proof: Proof) -> dict[str, Any]:
    return {
        "number": one.number,
        "round": one.round,
        "kind": one.fault.kind,
        "what": one.hit.what if one.hit else "",
        "where": one.hit.where if one.hit else "",
        "at_ms": one.hit.at_ms if one.hit else None,
        "between": proof.between,
        "zombie": proof.zombie,
        "ledger": proof.ledger,
        "back_s": one.back_s,
        "problem": one.problem,
    }


def page(result: Result) -> str:
    """The run as Markdown, between its two marks."""
    judged, played = result.judgement, result.played
    verdicts = [
        ("raw records without a row", judged.lost),
        ("rows or events more than once", judged.twice),
        ("anomalies twice", judged.anomalies_twice),
        ("windows that differ from a run without faults", f"{judged.windows_differ} of {judged.windows}"),
        ("`tokentrail verify --settled`", f"{judged.verify} ({judged.verify_s} s)"),
        ("faults between INTENT and DONE", result.between),
        ("true zombies: a rejected record behind the claim", result.zombies),
        ("anomaly revisions told, of these repeated word for word", f"{judged.revisions}, {judged.repeats}"),
        ("events sent, of these once more", f"{played.count:,}, {len(played.again):,}"),
        ("rows", ", ".join(f"{name} {count:,}" for name, count in judged.rows.items())),
    ]
    lines = [
        BEGIN,
        f"`python -m tests.chaos.run --faults {result.faults} --events {played.count} --seed {result.seed}`, "
        f"{result.seconds / 60:.0f} minutes on {_machine()}.",
        "",
        "| what | found |",
        "| --- | --- |",
        *(f"| {what} | {found} |" for what, found in verdicts),
        "",
        "| kind | faults | between INTENT and DONE | next range done after, median / most |",
        "| --- | --- | --- | --- |",
    ]
    kinds = {one.number: one.fault.kind for one in played.outcomes}
    for kind, count in result.by_kind.items():
        between = sum(proof.between for number, proof in result.proofs.items() if kinds[number] == kind)
        back = result.back(kind)
        took = f"{median(back):.1f} s / {back[-1]:.1f} s" if back else ""
        lines.append(f"| {kind} | {count} | {between} | {took} |")
    lines += ["", *(f"- {problem}" for problem in result.problems)] if result.problems else []
    lines += [
        "",
        "Each fault with the position it hit: the range that was open, or where the log ended; then the ledger offsets "
        "of the INTENT, of what followed it, and of a zombie's rejected record.",
        "",
        "| # | round | fault | position | ledger |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in played.outcomes:
        proof = result.proofs.get(one.number, Proof())
        mark = " **zombie**" if proof.zombie else ""
        what, where = (one.hit.what, one.hit.where) if one.hit else (one.problem, "")
        lines.append(f"| {one.number} | {one.round} | {what}{mark} | {where} | {proof.ledger} |")
    return "\n".join([*lines, END, ""])


def merged(text: str, result: Result) -> str:
    """The page with this run in the place of the one before."""
    before, found, rest = text.partition(BEGIN)
    after = rest.partition(END)[2].lstrip("\n") if found else ""
    return before.rstrip("\n") + "\n\n" + page(result) + (f"\n{after}" if after else "")


def _machine() -> str:
    import os

    return f"{os.cpu_count()} cores ({platform.machine()}, {platform.system()})"

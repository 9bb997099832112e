"""Plays a plan: events flow, and on two sides at once, store and stream, one fault comes after the other.

Between two rounds everything is worked off and accounted for by position, and the raw topic may be recreated.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.fact import Fact
from tests.chaos.closing import close_windows
from tests.chaos.faults.fault import Fault, Hit, Missed
from tests.chaos.house import ALL, House
from tests.chaos.sender import Sender

Say = Callable[[str], None]
DRAIN_S = 240.0
BACK_S = 30.0
START_S = 150.0
ATTEMPTS = 3
LOOKED_BACK = 6_000


@dataclass
class Outcome:
    """One fault of the plan: what it hit, and how it went; `back_s`: until its partition's next range was done."""

    number: int
    fault: Fault
    round: int
    hit: Hit | None = None
    back_s: float | None = None
    took_s: float = 0.0
    problem: str = ""


@dataclass
class Played:
    """What was sent and what happened.

    Attributes:
        count: Events sent once each.
        again: Events sent once more.
        ends: Raw records by (epoch, partition).
        outcomes: Of all faults.
        ticks: Ticks that each partition got at the end.
        ticks: Ticks that each partition got at the end; they give no rows.
    problems: What went wrong beside the faults.
        seconds: Without start and judgement.
    """

    count: int
    begin_ms: int
    again: list[int] = field(default_factory=list)
    ends: dict[tuple[int, int], int] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    ticks: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Player:
    """One run."""

    def __init__(
        self,
        house: House,
        plan: Sequence[Sequence[Fault]],
        count: int,
        begin_ms: int,
        say: Say,
        rate: float | None = None,
    ) -> None:
        self._house, self._plan, self._say, self._rate = house, plan, say, rate
        self.played = Played(count, begin_ms)
        self._lock = threading.Lock()
        self._late: list[tuple[Fault, int]] = []
        self._begun = time.monotonic()

    def play(self, deadline_s: float) -> Played:
        """Every round; ends early, with a problem, when the time is over."""
        house, played, rounds = self._house, self.played, len(self._plan)
        house.workers.start(*ALL)
        self._begun = time.monotonic()
        for number, faults in enumerate(self._plan):
            first, next = played.count * number // rounds, played.count * (number + 1) // rounds
            if time.monotonic() - self._begun > deadline_s:
                played.problems.append(f"round {number + 1} and later ones were not played: no time was left")
                played.count = first
                break
            self._round(number, faults, first, next, number == rounds - 1)
            if not self._drain(number, number == rounds - 1):
                played.count = next
                break
            for fault in faults:
                if fault.side == "all":
                    self._one(fault, number, 1)
        played.seconds = round(time.monotonic() - self._begun, 1)
        played.problems += [f"{name} was given up with exit code {code}" for name, code in house.workers.given_up]
        return played

    def _round(self, number: int, faults: Sequence[Fault], first: int, next: int, is_last: bool) -> None:
        sender = Sender(self._house, first, next, self.played.begin_ms, self._rate)
        due, self._late = [*self._late, *((fault, 1) for fault in faults if fault.side != "all")], []
        sides = [[one for one in due if one[0].side == side] for side in ("store", "stream")]
        sender.faults_left = max(map(len, sides))
        sender.start()
        threads = [
            threading.Thread(target=self._side, args=(number, side, sender, is_last), daemon=True) for side in sides
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._house.heal()
        sender.faults_left = 0
        sender.join(DRAIN_S)
        if sender.is_alive() or sender.failed or sender.problem is not None:
            sender.given_up.set()
            self.played.problems.append(
                f"round {number + 1}: {sender.sent} of {next - first} sent, {sender.failed} failed, {sender.problem!r}"
            )

    def _side(self, number: int, faults: list[tuple[Fault, int]], sender: Sender, is_last: bool) -> None:
        left, begun = deque(faults), time.monotonic()
        took: list[float] = []
        while left:
            # Stages that are just starting hold nothing that a fault could hit.
            if not self._house.watch.done(self._house.raw_epoch) and time.monotonic() - begun < START_S:
                time.sleep(0.05)
                continue
            fault, attempt = left.popleft()
            at = time.monotonic()
            self._one(fault, number, attempt, left if is_last else None)
            took.append(time.monotonic() - at)
            with self._lock:
                if len(left) >= sender.faults_left - 1 or not left:
                    sender.faults_left = max(len(left), 1)
                    sender.fault_s = max(1.0, sum(took) / len(took))

    def _one(self, fault: Fault, number: int, attempt: int, here: deque[tuple[Fault, int]] | None = None) -> None:
        """One fault, with whatever comes of it; one that missed its moment comes again later."""
        begun = time.monotonic()
        outcome = Outcome(0, fault, number + 1)
        try:
            outcome.hit = fault.inject(self._house)
            hit_s = time.monotonic()
            fault.heal(self._house, outcome.hit)
            if outcome.hit.open is not None:
                outcome.back_s = self._back(outcome.hit.open.partition, hit_s)
        except Missed as error:
            if attempt < ATTEMPTS:
                (self._late if here is None else here).append((fault, attempt + 1))
                return
            outcome.problem = f"missed: {error}"
        except Exception as error:
            outcome.problem = f"{type(error).__name__}: {error} ({traceback.format_exc().splitlines()[-3].strip()})"
        outcome.took_s = round(time.monotonic() - begun, 1)
        with self._lock:
            self.played.outcomes.append(outcome)
            outcome.number = len(self.played.outcomes)
            if outcome.hit is not None:
                self.played.again += outcome.hit.again
        what = outcome.hit.what if outcome.hit else f"{fault.kind} {outcome.problem}"
        back = f", back after {outcome.back_s} s" if outcome.back_s is not None else ""
        at = round(time.monotonic() - self._begun)
        self._say(
            f"{at:5} s  round {number + 1}  fault {outcome.number}: {what}{back} [{outcome.took_s} s] {outcome.problem}"
        )

    def _back(self, partition: int, hit_s: float) -> float | None:
        """Seconds from the hit to the next range done in its partition."""
        deadline = hit_s + BACK_S
        while time.monotonic() < deadline:
            moved = self._house.watch.moved_s.get(partition, 0.0)
            if moved > hit_s:
                return round(moved - hit_s, 2)
            time.sleep(0.02)
        return None

    def _drain(self, number: int, is_last: bool) -> bool:
        """Wait until every raw record has its row and its fact; note how many there are."""
        house, begun = self._house, time.monotonic()
        if is_last:
            self.played.ticks = close_windows(house, self.played.begin_ms, self.played.count)
        ends = house.ends("calls.raw")
        epoch = house.raw_epoch
        while True:
            marks = house.watch.marks()
            rows = all(marks[n] >= (epoch, end) for n, end in ends.items() if end)
            if rows and all(self._facts(n) >= (epoch, end) for n, end in ends.items() if end):
                break
            if time.monotonic() - begun > DRAIN_S:
                self.played.problems.append(f"round {number + 1}: not worked off: {ends}, rows {marks}")
                break
            time.sleep(0.2)
        self.played.ends |= {(epoch, partition): end for partition, end in ends.items()}
        at = round(time.monotonic() - self._begun)
        self._say(f"{at:5} s  round {number + 1}: {sum(ends.values())} records worked off")
        return time.monotonic() - begun <= DRAIN_S

    def _facts(self, partition: int) -> tuple[int, int]:
        """Epoch and next offset that the facts of a partition have reached."""
        end = self._house.ends("facts")[partition]
        found = self._house.read("facts", partition, max(0, end - LOOKED_BACK), end) if end else []
        facts = [msgspec.json.decode(one.value(), type=Fact) for one in found]
        return max(((fact.position.epoch, fact.next_offset) for fact in facts), default=(0, 0))

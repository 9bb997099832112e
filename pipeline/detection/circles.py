"""Circles: for each length a counter of how many steps in a row equal, or are near to, the step so many before. Pure.

And whether a number gets on meanwhile, so that it is a way and no circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from pipeline.detection.nearness import NONE, SAME, TRENDS, WEAK, Likeness, moved
from pipeline.detection.run import LONGEST, NO_MOVES, ZEROS, Run
from pipeline.detection.steps import LEVELS, Step

# A number that has gone one way so often does not do so by chance.
MOVES: Final = 4
_MOVES: Final = Struct(f"<{LONGEST}H")
_QUESTION_LEVELS: Final = (1 << LEVELS) - 1
_ALL_LEVELS: Final = (1 << 2 * LEVELS) - 1


def repeat(run: Run, step: Step, likes: Sequence[Likeness]) -> None:
    """Bring the counters up to date by a step and how like it is to the steps before, the newest first."""
    if not any(like.grade for like in likes[:LONGEST]):
        forget(run)
        return
    exact, near, up, down = bytearray(run.exact), bytearray(run.near), bytearray(run.up), bytearray(run.down)
    moves = list(_MOVES.unpack(run.moves))
    for place in range(LONGEST):
        like = likes[place] if place < len(likes) else None
        bit = 1 << place
        if like is None or like.grade == NONE:
            exact[place] = near[place] = up[place] = down[place] = moves[place] = 0
            run.weak &= ~bit
            run.other &= ~bit
            continue
        exact[place] = min(255, exact[place] + 1) if like.grade == SAME else 0
        near[place] = min(255, near[place] + 1)
        if like.grade < SAME:
            end = len(run.levels) - place * TRENDS.size
            rose, fell = moved(step, run.levels[end - TRENDS.size : end])
            moves[place] = _moved_again(moves[place], (rose | fell) & (up[place] | down[place]))
            up[place] |= rose
            down[place] |= fell
            run.weak |= bit if like.grade == WEAK else 0
            run.other |= 0 if like.same_answer else bit
    run.exact, run.near, run.up, run.down = bytes(exact), bytes(near), bytes(up), bytes(down)
    run.moves = _MOVES.pack(*moves)


def forget(run: Run) -> None:
    """There is no circle any more."""
    if run.near != ZEROS:
        run.exact = run.near = run.up = run.down = ZEROS
        run.moves, run.weak, run.other = NO_MOVES, 0, 0


def rounds(matches: bytes, without: int = 0) -> tuple[int, int]:
    """(rounds, length) of the circle with most rounds, the shortest of equals; `without` leaves lengths out by bits."""
    best, length = 1, 1
    for place, match in enumerate(matches):
        found = match // (place + 1) + 1
        if found > best and not without >> place & 1:
            best, length = found, place + 1
    return best, length


def getting_on(run: Run) -> int:
    """One bit for each length of circle: whether a number goes one way only, such as a page or a percentage.

    A number in questions does not count when it brings the same answers.
    """
    found = 0
    if max(run.near) < MOVES:
        return found
    moves = _MOVES.unpack(run.moves)
    for place in range(LONGEST):
        one_way = run.up[place] ^ run.down[place]
        steady = 0
        if one_way and run.near[place] >= MOVES:
            for number in range(2 * LEVELS):
                if one_way >> number & 1 and moves[place] >> 2 * number & 3 == MOVES - 1:
                    steady |= 1 << number
        if steady & (_ALL_LEVELS ^ _QUESTION_LEVELS) or (steady and run.other >> place & 1):
            found |= 1 << place
    return found


def _moved_again(moves: int, moved_again: int) -> int:
    for number in range(2 * LEVELS):
        if moved_again >> number & 1 and moves >> 2 * number & 3 < MOVES - 1:
            moves += 1 << 2 * number
    return moves

"""What is made of short strings is made once, and never of more of them than may be held."""

from __future__ import annotations

from pipeline.remembered import Remembered


def test_short_strings_are_asked_for_once_and_long_ones_never_held() -> None:
    asked: list[str] = []

    def make(text: str) -> int:
        asked.append(text)
        return len(text)

    known = Remembered(make, most=10, longest=4)
    assert [known["four"], known["longer"], known["four"], known["longer"]] == [4, 6, 4, 6]
    assert asked == ["four", "longer", "longer"]
    assert list(known) == ["four"]


def test_a_full_memory_starts_again_and_answers_the_same() -> None:
    known = Remembered(str.upper, most=3, longest=8)
    for number in range(50):
        assert known[f"n{number}"] == f"N{number}"
        assert len(known) <= 3

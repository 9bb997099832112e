"""Cutting long texts: pieces cover everything, values at a cut are found whole, no tail survives."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.redaction.chunks import merge, split
from pipeline.redaction.values import Finding

SIZE, OVERLAP = 80, 20


@given(st.text(alphabet="ab \n", max_size=600))
@settings(max_examples=300)
def test_pieces_cover_the_text_in_order_and_share_the_overlap(text: str) -> None:
    pieces = split(text, SIZE, OVERLAP)
    assert pieces[0].offset == 0
    assert pieces[-1].offset + len(pieces[-1].text) == len(text)
    for piece in pieces:
        assert text[piece.offset : piece.offset + len(piece.text)] == piece.text
        assert len(piece.text) <= SIZE
    for before, after in pairwise(pieces):
        assert before.offset < after.offset <= before.offset + len(before.text) - OVERLAP


@given(st.text(alphabet="ab \n", max_size=600))
@settings(max_examples=300)
def test_a_token_is_only_cut_where_a_piece_says_so(text: str) -> None:
    for piece in split(text, SIZE, OVERLAP):
        end = piece.offset + len(piece.text)
        if not piece.cut_end and end < len(text):
            assert text[end].isspace()
        if not piece.cut_start and piece.offset > 0:
            assert text[piece.offset].isspace()


@given(st.integers(0, 500), st.sampled_from([" ", "x"]))
@settings(max_examples=300)
def test_a_value_shorter_than_the_overlap_is_found_whole_wherever_it_stands(place: int, filler: str) -> None:
    value = "#0123456789012345#"
    text = filler * place + value + filler * (500 - place)
    pieces = split(text, SIZE, OVERLAP)
    found = [[Finding("V", m.start(), m.end(), 1.0) for m in re.finditer(value, p.text)] for p in pieces]
    merged = merge(text, pieces, found)
    assert Finding("V", place, place + len(value), 1.0) in merged
    assert len(merged) == 1 or filler == "x"  # a hard cut may stretch it, too


def test_a_finding_at_a_hard_cut_is_stretched_over_the_rest_of_its_run() -> None:
    text = "see http://" + "x" * 300 + " end"
    pieces = split(text, SIZE, OVERLAP)
    found = [[Finding("URL", m.start(), m.end(), 0.6) for m in re.finditer(r"http://\S+", p.text)] for p in pieces]
    assert Finding("URL", 4, 311, 0.6) in merge(text, pieces, found)


def test_a_short_text_is_one_piece() -> None:
    (piece,) = split("short", SIZE, OVERLAP)
    assert (piece.text, piece.offset, piece.cut_start, piece.cut_end) == ("short", 0, False, False)

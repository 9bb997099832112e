"""Records that are gone before they were read are one page a stretch, whatever is repeated."""

from __future__ import annotations

from pipeline.audit.positions import Mark
from pipeline.detection.loops import LoopWatch
from pipeline.intake.facts import Where, gap
from schemas.fact import Fact
from schemas.position import Position


def missing(first: int, last: int, received_at: int = 1_000) -> Fact:
    return gap(Where(Position(2, 3, first), first, received_at), last, "not_in_log")


def test_a_stretch_that_is_gone_is_one_page_that_names_its_ends() -> None:
    watch = LoopWatch(Mark(2, 10))
    (page,) = watch.fold(missing(10, 1_209))
    assert (page.rule, page.tier, page.severity, page.observed) == ("loss.detected", 1, "SEV1", 1_200.0)
    assert page.evidence == ("2/3/10", "2/3/1209") and "1,200 records of partition 3" in page.why
    assert watch.fold(missing(10, 1_209)) == [], "the same gap again is a duplicate"
    assert LoopWatch(Mark(2, 10)).fold(missing(10, 1_209)) == [page], "and after a crash the same finding"


def test_two_stretches_are_two_findings_and_what_lies_behind_a_hole_is_none_yet() -> None:
    watch = LoopWatch(Mark(2, 10))
    assert watch.fold(missing(12, 20)) == []
    (first,) = watch.fold(missing(10, 11))
    (second,) = watch.fold(missing(12, 20))
    assert first.id != second.id


def test_the_marker_of_a_transaction_is_no_loss() -> None:
    assert LoopWatch(Mark(2, 10)).fold(missing(10, 10)) == []

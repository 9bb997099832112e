"""What the doctor makes of what it sees, without servers."""

import os
import subprocess
import sys

import pytest

from pipeline.cli.checks import fail, guarded, machine, ok
from pipeline.cli.checks.lag import SOURCES, Lag, judged
from pipeline.cli.worker import STAGES, make
from pipeline.errors import RetryableError
from pipeline.settings import Settings

MINUTE_MS, DAY_MS = 60_000, 86_400_000


def lag(age_ms, records=5, lost=0):
    return judged("redact", "calls.raw", [Lag("redact", 0, 0, 0), Lag("redact", 1, records, age_ms, lost)])


def test_a_stage_that_keeps_up_is_well():
    assert lag(300).state == "ok"
    assert lag(300).said == "0: 0, 1: 5 records by partition."


def test_a_stage_that_falls_behind_is_told_with_the_time_until_something_is_lost():
    found = lag(2 * MINUTE_MS)
    assert found.state == "warn"
    assert "the oldest has waited 2 min" in found.said and "6 d 23 h are left" in found.said
    assert "tokentrail worker --stage redact" in found.todo


@pytest.mark.parametrize(("age_days", "state"), [(1, "warn"), (2, "warn"), (5.2, "warn"), (5.3, "FAIL"), (6.9, "FAIL")])
def test_it_is_urgent_when_three_quarters_of_the_topics_life_are_used_up(age_days, state):
    assert lag(int(age_days * DAY_MS)).state == state


def test_what_was_deleted_before_it_was_read_is_a_failure():
    found = lag(300, lost=12)
    assert found.state == "FAIL" and "12 records of calls.raw were deleted" in found.said


@pytest.mark.parametrize("name", STAGES)
def test_lag_is_looked_for_where_the_stage_reads(name):
    assert SOURCES[name] == make(name, Settings()).source


def test_every_stage_is_looked_at():
    assert set(SOURCES) == set(STAGES)


def test_the_model_is_the_one_that_redaction_loads():
    from pipeline.redaction.language import SMALL_MODEL

    assert machine.SMALL_MODEL == SMALL_MODEL
    (found,) = machine.redaction(Settings(ner=True))
    assert found.state == "ok" and "3.8.0" in found.said


@pytest.mark.parametrize(
    ("settings", "state"),
    [({"redaction": "off"}, "FAIL"), ({"ner": False}, "ok"), ({"ner": True, "ner_model": "no_such_model"}, "FAIL")],
)
def test_redaction_that_is_off_or_has_no_model_is_a_failure(settings, state):
    (found,) = machine.redaction(Settings(**settings))
    assert found.state == state


def test_a_check_that_falls_over_is_a_finding_without_the_words_of_foreign_errors():
    def broken():
        yield ok("part", "half")
        raise ValueError("a secret value")

    def away():
        yield from ()
        raise RetryableError("Kafka does not answer")

    assert guarded("part", broken) == [
        fail("part", "could not be looked at (ValueError).", "Look at the lines above first.")
    ]
    assert guarded("part", away)[0].said == "Kafka does not answer"


def test_a_process_that_has_ended_is_not_alive_even_before_its_parent_looks():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not machine.alive(child.pid)
    child.wait()
    assert machine.alive(os.getpid()) and not machine.alive(0) and not machine.alive(child.pid)


def test_nobody_answering_on_a_metrics_port_is_none():
    assert machine.scrape("127.0.0.1", 1) is None

"""Is the user slow or the model slow? The verdict on a trace."""

import pytest

from pipeline.cli.verdict import ENOUGH, Spread, TracedCall, cause, outside_ms, verdict

USUAL = Spread(500, 1_000.0, 2_000.0, 200.0)
NOBODY = Spread()


def call(latency_ms, others=USUAL, usual=USUAL, own=NOBODY, end_ms=100_000, output_tokens=200):
    return TracedCall(end_ms, "m-large", latency_ms, output_tokens, others, usual, own)


def test_calls_within_what_others_took_are_not_slow():
    calls = [call(900, end_ms=100_900), call(1_900, end_ms=102_800)]
    assert [cause(each) for each in calls] == ["usual", "usual"]
    assert verdict(calls) == "Neither is slow: 2 of 2 calls took no longer than others' calls do."


def test_a_model_that_was_slow_for_everyone_in_that_hour_is_named():
    slow_hour = Spread(80, 2_300.0, 6_000.0, 200.0)
    said = verdict([call(2_500, slow_hour), call(900, end_ms=110_000)])
    assert said.startswith(
        "The model is slow: for others too m-large took 2.30 s at the median in that hour, 2.3 times"
    )
    assert "its usual 1.00 s; that explains 1 of 2 calls." in said


def test_a_slow_model_is_no_excuse_for_a_call_that_was_fast():
    assert cause(call(1_200, Spread(80, 2_300.0, 6_000.0))) == "usual"


def test_a_user_whose_other_calls_are_slow_too_is_named_with_the_reason():
    own = Spread(40, 3_100.0, 5_000.0, 700.0)
    said = verdict([call(3_000, own=own, output_tokens=650)])
    assert said.startswith(
        "The user is slow, not the model: this user's calls to m-large take 3.10 s at the median, 3.1 times"
    )
    assert "with answers 3.5 times as long" in said
    assert said.endswith("that explains its call.")


def test_a_single_slow_call_is_neither_the_users_nor_the_models():
    said = verdict([call(9_000, own=Spread(40, 1_000.0, 2_000.0, 200.0))])
    assert said.startswith(
        "This trace is slow, but neither its user nor the model in general: its call took longer than 95 %"
    )
    assert "9.00 s against 2.00 s" in said


@pytest.mark.parametrize("others", [Spread(), Spread(ENOUGH - 1, 1_000.0, 2_000.0)])
def test_too_few_others_say_nothing(others):
    assert cause(call(9_000, others, Spread())) == "unknown"
    assert verdict([call(9_000, others, Spread())]).startswith("Nobody can say")


def test_the_week_before_stands_in_for_an_hour_with_too_few_calls():
    assert cause(call(9_000, Spread(3, 900.0, 950.0))) == "call"
    assert cause(call(1_500, Spread(3, 900.0, 950.0))) == "usual"


def test_what_took_most_of_the_time_is_told():
    slow_hour = Spread(80, 2_300.0, 6_000.0)
    said = verdict([call(60_000), call(2_500, slow_hour, end_ms=163_000)])
    assert said.startswith("This trace is slow")


def test_time_between_calls_is_told_where_it_is_most_of_it():
    calls = [call(1_000, end_ms=1_000), call(1_000, end_ms=10_000)]
    assert outside_ms(calls) == (10_000, 8_000)
    assert verdict(calls).endswith("8.00 s of the trace's 10.00 s passed outside of model calls.")


def test_calls_side_by_side_are_counted_once():
    assert outside_ms([call(1_000, end_ms=1_000), call(500, end_ms=900), call(1_000, end_ms=1_500)]) == (1_500, 0)

"""A short run of what `python -m tests.chaos.run` does at length: kill -9 loses nothing and doubles nothing."""

from __future__ import annotations

import pytest

from bench.events import encoded
from tests.chaos.run import play


@pytest.mark.timeout(240)
def test_killed_stages_lose_nothing_and_double_nothing(tmp_path):
    outcome = play(
        tmp_path, encoded(9_000, 500), kills=3, seed=11, environment={"TOKENTRAIL_NER": "false"}, deadline_s=150
    )
    assert (outcome.missing, outcome.doubled, outcome.verify) == (0, 0, "ok")
    assert outcome.rows["calls"] == outcome.rows["call_content"] == 9_000
    assert len(outcome.kills) == 3 and all(kill.lag > 0 for kill in outcome.kills)
    assert sum(kill.replayed > 0 for kill in outcome.kills) >= 1, "no kill hit anything: the run proves nothing"

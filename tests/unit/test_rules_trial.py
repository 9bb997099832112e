"""Rules are tried on stored history: what they would have found beside what those in force find."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.cli.main import main
from pipeline.control.budgets import Budgets
from pipeline.detection.trial import Trial, always, compare
from pipeline.errors import UsageError
from pipeline.transport.history import History, Line, record_of, save, saved
from schemas.fact import Fact
from tests.streams import MIDNIGHT_MS, MINUTE_MS, Plant, partials

LAX = '["error.rate"]\nleast_failed = 200\n'
OTHER = '["error.rate"]\nenabled = false\n["loop.runaway"]\nshadow = true\n'


class Recorder(Plant):
    """A plant that keeps what would stand in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[Line] = []
        self.published: list[Line] = []

    def flush(self) -> None:
        self.flushed_ms = self.now_ms
        for partition, fold in enumerate(self.folds):
            self.published += [Line("partials", self.now_ms, msgspec.Raw(one)) for one in partials(fold, partition)]

    def _fold(self, partition: int, fact: Fact) -> None:
        self.stored.append(Line("facts", fact.received_at, msgspec.Raw(msgspec.json.encode(fact))))
        super()._fold(partition, fact)


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    """Three hours of calls, of which a third fail in the last."""
    plant = Recorder()
    for number in range(180 * 6):
        fails = number > 120 * 6 and number % 3 == 0
        plant.call(MIDNIGHT_MS + number * 10_000, status="error" if fails else "ok")
    plant.until(MIDNIGHT_MS + 190 * MINUTE_MS)
    return plant.stored + plant.published


def played(lines: list[Line], text: str) -> Trial:
    trial = Trial(always(text), Budgets(), 2)
    for line in lines:
        record = record_of(line)
        assert record is not None
        if isinstance(record, Fact):
            trial.fact(record)
        else:
            trial.partials(record, line.at)
    return trial


def test_a_trial_finds_what_the_live_judge_finds(lines: list[Line]) -> None:
    rules = {one.rule for one in played(lines, "").opened.values()}
    assert "error.rate" in rules


def test_the_same_rules_differ_in_nothing_and_a_rule_that_is_off_is_gone(lines: list[Line]) -> None:
    before = played(lines, "")
    same = compare(before, played(lines, ""))
    assert same and all(one.before is not None and one.after is not None for one in same)
    off = compare(before, played(lines, OTHER))
    assert {one.before.rule for one in off if one.before and one.after is None} == {"error.rate"}
    back = compare(played(lines, OTHER), before)
    assert {one.after.rule for one in back if one.after and one.before is None} == {"error.rate"}


@pytest.fixture(scope="module")
def file(lines: list[Line], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("history")) / "h.gz"
    assert len(list(save(History(2, iter(lines)), path))) == len(lines)
    return path


def test_a_file_says_what_the_log_said(lines: list[Line], file: Path) -> None:
    history = saved(file)
    assert history.partitions == 2
    assert [(one.topic, one.at, bytes(one.value)) for one in history.lines] == [
        (one.topic, one.at, bytes(one.value)) for one in lines
    ]


def test_the_command_shows_what_a_file_of_rules_changes(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(LAX)
    with pytest.raises(SystemExit, match="0"):
        main(["rules", "test", str(rules), "--on", str(file), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["partials"] > 300 and said["facts"] > 1_000 and said["unreadable"] == 0
    assert {one["rule"] for one in said["found"] if one["in_force"] and not one["with_file"]} == {"error.rate"}
    with pytest.raises(SystemExit, match="0"):
        main(["rules", "test", str(rules), "--on", str(file)])
    assert " gone, " in capsys.readouterr().out


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no history")
    with pytest.raises(UsageError, match="cannot be read"):
        saved(text)
    with pytest.raises(UsageError, match="cannot be read"):
        saved(tmp_path / "missing")
    with gzip.open(tmp_path / "other.gz", "wb") as other:
        other.write(b'{"a": 1}\n')
    with pytest.raises(UsageError, match="is no history"):
        saved(tmp_path / "other.gz")


def test_a_history_that_breaks_off_leaves_no_file(tmp_path: Path, lines: list[Line]) -> None:
    def breaks() -> Iterator[Line]:
        yield lines[0]
        raise ConnectionError

    path = tmp_path / "h.gz"
    with pytest.raises(ConnectionError):
        list(save(History(2, breaks()), path))
    assert list(tmp_path.iterdir()) == []

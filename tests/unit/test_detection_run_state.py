"""What is kept of a run: small, exact after packing, and the same under any cut; sketches and samples of words."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.audit.positions import Mark
from pipeline.detection import awake, words
from pipeline.detection.loops import LoopWatch, WatchState, run_key
from pipeline.detection.run import LONGEST, MOST_BYTES, NEAR_REMEMBERED, REMEMBERED, Run, evidence, pack, unpack
from pipeline.detection.run_velocity import Peers, RunVelocity
from pipeline.detection.runs import STRETCH_MS
from schemas.fact import Fact, Loop, Shape
from tests.streams import HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Facts

NOON = MIDNIGHT_MS + 12 * HOUR_MS
KEY = b"k" * 32


def some_loop(dice: Random) -> Loop:
    """Marks as `measure` makes them, of few different steps."""

    def mark() -> str:
        return f"{dice.randrange(3):016x}.{dice.randrange(2):08x}"

    def shape(**more: Any) -> Shape:
        bits = dice.choice((0, 3, 2**63, 2**64 - 1))
        levels = tuple(dice.choices(range(65_536), k=dice.randrange(5)))
        return Shape(bits, bits & 0xFFFF_FFFF, dice.randrange(128), dice.randrange(128), levels, **more)

    question = {"tag": dice.randrange(2), "told": dice.choice((0, 0, 1, 2)), "made_up": dice.random() < 0.2}
    return Loop(
        actions=tuple(mark() for _ in range(dice.choice((0, 1, 1, 2)))),
        results=tuple(mark() for _ in range(dice.choice((0, 1, 2)))),
        own_results=dice.random() < 0.5,
        output=mark() if dice.random() < 0.5 else None,
        input_tail=mark() if dice.random() < 0.5 else None,
        tool_errors=dice.choice((0, 0, 1)),
        input_messages=dice.randrange(30),
        asked=(mark(),) if dice.random() < 0.5 else (),
        action_shape=shape(**question) if dice.random() < 0.8 else None,
        asked_shape=shape(**question),
        result_shape=shape(),
        output_shape=shape(),
        tail_shape=shape(),
        tail_role=dice.choice(("", "user", "assistant", "other")),
        answer_words=tuple(sorted(dice.sample(range(65_521), dice.randrange(words.SAMPLE + 1)))),
    )


def some_facts(seed: int, count: int) -> list[Fact]:
    dice, facts, at_ms = Random(seed), Facts(), NOON
    out = []
    for _ in range(count):
        at_ms += dice.choice((500, 2_000, 40_000, 400_000))
        out.append(
            facts.call(
                at_ms, run=f"r{dice.randrange(3)}", loop=some_loop(dice) if dice.random() < 0.95 else None,
                status=dice.choice(("ok", "ok", "ok", "error")), usd=dice.choice((0.0, 0.01, 9.0)),
                input_tokens=dice.choice((None, 50, 10**9)), latency_ms=dice.choice((None, 3.0, 10**9)),
                retry_after_s=dice.choice((None, 10.0)),
            )
        )  # fmt: skip
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9))
def test_whatever_a_run_does_it_is_the_same_after_packing_and_never_larger_than_its_bound(seed: int) -> None:
    watch = LoopWatch(Mark(1, 0))
    for fact in some_facts(seed, 120):
        watch.fold(fact)
    for _, data in watch.runs.items():
        assert len(data) <= MOST_BYTES <= 900
        assert pack(unpack(data)) == data


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 110))
def test_a_watch_that_is_restored_anywhere_says_the_same_as_one_that_was_not(seed: int, cut: int) -> None:
    facts = some_facts(seed, 120)
    whole = LoopWatch(Mark(1, 0))
    expected = [one for fact in facts for one in whole.fold(fact)]
    first = LoopWatch(Mark(1, 0))
    found = [one for fact in facts[:cut] for one in first.fold(fact)]
    second = LoopWatch(Mark(0, 0))
    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.state()), type=WatchState))
    # And what was folded already comes again.
    found += [one for fact in facts[max(0, cut - 20) :] for one in second.fold(fact)]
    assert found == expected
    assert second.state() == whole.state()


def test_what_is_remembered_is_bounded() -> None:
    watch, facts = LoopWatch(Mark(1, 0)), Facts()
    dice = Random(1)
    for number in range(200):
        loop = msgspec.structs.replace(some_loop(dice), output=f"{number:016x}.{number:08x}", actions=(), results=())
        watch.fold(facts.call(NOON + number * 2_000, run="r", loop=loop))
    ((_, data),) = watch.runs.items()
    run = unpack(data)
    assert len(run.strict) == 6 * REMEMBERED
    assert len(run.records) % NEAR_REMEMBERED == 0 and len(run.levels) == 16 * LONGEST
    assert evidence(run, 0) == tuple(f"1/0/{number}" for number in range(195, 200))
    assert unpack(pack(Run())) == Run()


def test_a_run_is_known_by_tenant_and_name() -> None:
    facts = Facts()
    keys = {
        run_key(facts.call(NOON, tenant=tenant, run=run, session=session))
        for tenant, run, session in itertools.product(("a", "b"), ("r", "s", None), ("r", "s"))
    }
    # A run goes by its own name whatever the session; r the run and r the session are told apart by their hashes.
    assert len(keys) == 4
    assert run_key(facts.call(NOON, run="ab" * 16)) == int("ab" * 8, 16)


# -- how fast a run spends


def spend(watch: LoopWatch, facts: Facts, run: str, calls: int, usd: float, at_ms: int) -> list[Any]:
    found = []
    for number in range(calls):
        found += watch.fold(facts.call(at_ms + number * 1_000, run=run, usd=usd, input_tokens=1_000))
    return found


def test_a_run_that_spends_many_times_what_its_peers_spend_is_named_and_resolved() -> None:
    watch, facts = LoopWatch(Mark(1, 0)), Facts()
    at_ms = NOON
    for number in range(60):
        spend(watch, facts, f"peer-{number}", 5, 0.01, at_ms)
        spend(watch, facts, f"peer-{number}", 1, 0.01, at_ms + STRETCH_MS)
        at_ms += 2 * STRETCH_MS
    assert watch.peers["acme", "chat"].count == 60
    (finding,) = spend(watch, facts, "fast", 30, 0.2, at_ms)
    assert (finding.rule, finding.tier, finding.severity, finding.unit) == ("run.velocity", 2, "SEV2", "usd")
    assert finding.subject["run"] == "fast" and "99 of 100 of its runs" in finding.why and finding.ratio > 8
    later = [watch.fold(facts.tick(at_ms + (number + 2) * 5 * MINUTE_MS)) for number in range(5)]
    assert [one.state for found in later for one in found] == ["resolved"]


def test_without_peers_only_a_great_sum_is_said_and_every_run_alike_is_none() -> None:
    watch, facts = LoopWatch(Mark(1, 0)), Facts()
    assert spend(watch, facts, "one", 40, 0.2, NOON) == []
    (finding,) = spend(watch, facts, "two", 40, 1.0, NOON)
    assert finding.severity == "SEV1" and "no other runs are known" in finding.why
    peers = Peers()
    for _ in range(100):
        peers.add(8_000_000, 100_000)
    run = Run(stretch_cost=8_000_000, stretch_calls=50, stretch_ms=NOON)
    assert RunVelocity().evaluate(run, peers, {"tenant": "acme"}) is None


def test_peers_fade_and_their_number_is_bounded() -> None:
    peers = Peers()
    for _ in range(50_000):
        peers.add(1_000, 1_000)
    assert peers.count < 20_000 and sum(peers.cost) == peers.count


# -- words


def test_texts_with_most_words_in_common_have_near_sketches_and_others_do_not() -> None:
    def bits(text: str, key: bytes = KEY) -> int:
        return words.sketch(words.read(text).content, key)

    one = "The merchant of the old town sold silver candles near the bridge every winter morning"
    other = "Every winter morning, near the bridge: silver candles, sold by a merchant in the oldest town"
    third = "A telescope measures light from distant galaxies with cooled silicon sensors at night"
    likeness = [words.cosine((bits(one) ^ bits(text)).bit_count()) for text in (one, other, third)]
    assert likeness[0] == 1.0 and likeness[1] > 0.8 and abs(likeness[2]) < 0.5
    assert abs(words.cosine((bits(one) ^ bits(one, b"another")).bit_count())) < 0.4


@pytest.mark.parametrize(
    ("text", "content", "volatile"),
    [
        ("DEN to LAS", ["den", "las"], 0),
        ("der Fluss und die Stadt", ["fluss", "stadt"], 0),
        ("order A-1234 at /tmp/x for jane@example.com", ["order"], 3),
        ("searching searched", ["search"], 0),
        ("東京の天気", ["東京", "京の", "の天", "天気"], 0),
        ("", [], 0),
    ],
)
def test_words_of_content(text: str, content: list[str], volatile: int) -> None:
    found = words.read(text)
    assert found.content == content and len(found.volatile) == volatile


def test_samples_of_several_texts_are_the_sample_of_all_their_words() -> None:
    dice = Random(8)
    texts = [[f"w{dice.randrange(400)}" for _ in range(30)] for _ in range(20)]
    merged: set[int] = set()
    for text in texts:
        merged |= set(words.sample(text, KEY))
    every = [word for text in texts for word in text]
    assert tuple(sorted(merged)[: words.SAMPLE]) == words.sample(every, KEY)


def test_runs_are_the_same_and_in_the_same_order_whether_they_are_awake_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = some_facts(7, 400)
    found = []
    for most in (1, 2, 512):
        monkeypatch.setattr(awake, "MOST_AWAKE", most)
        watch = LoopWatch(Mark(1, 0), max_runs=2)
        anomalies = [one for fact in facts for one in watch.fold(fact)]
        found.append((anomalies, watch.state()))
    assert found[0] == found[1] == found[2]
    assert found[0][1].forgotten > 10

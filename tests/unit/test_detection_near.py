"""Near repeats: what only looks different is a loop, what only looks alike is work. From events as they are sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import msgspec
import pytest

from pipeline.audit.positions import Mark
from pipeline.detection.fingerprint import loop_marks
from pipeline.detection.loop_runaway import LoopRunaway
from pipeline.detection.loops import LoopWatch
from pipeline.detection.shapes import look
from schemas.anomaly import Anomaly
from schemas.event import Event
from tests.streams import HOUR_MS, MIDNIGHT_MS, Facts

KEY = b"k" * 32
NOON = MIDNIGHT_MS + 12 * HOUR_MS
RULE = LoopRunaway()
PAGE = (
    "Berlin has about three million inhabitants and lies on the river Spree; its oldest churches stand in the quarter "
    "of Nikolai, where merchants founded the town."
)
TOPICS = "harbour invoice telescope garden novel engine climate bakery museum sensor contract patient".split()


class Agent:
    """One run, its conversation, and the watch over it."""

    def __init__(self, *, history: bool = True, run: str | None = "r1") -> None:
        self.watch, self.facts = LoopWatch(Mark(1, 0)), Facts()
        self.history, self.run, self.now_ms = history, run, NOON
        self.messages: list[dict[str, Any]] = [{"role": "user", "content": "Find out what is known of the town."}]
        self.found: list[Anomaly] = []

    def call(self, *, after_ms: int = 2_000, **body: Any) -> bool:
        """One call; whether it opened a finding."""
        self.now_ms += after_ms
        event = msgspec.convert({"tenant": "acme", "input": self.messages if self.history else None, **body}, Event)
        fact = self.facts.call(
            self.now_ms, run=self.run, session="s1", loop=loop_marks(event, KEY), input_tokens=len(str(event.input)),
            status=event.status, latency_ms=500.0,
        )  # fmt: skip
        found = self.watch.fold(fact)
        self.found += found
        return any(one.state == "open" for one in found)

    def tool(self, name: str, arguments: Any, result: Any, **more: Any) -> bool:
        """One step with a tool, its result in the next call's input where there is a history."""
        text = result if isinstance(result, str) else json.dumps(result)
        if not self.history:
            return self.call(tool_calls=[{"name": name, "arguments": arguments, "result": result}], **more)
        opened = self.call(tool_calls=[{"name": name, "arguments": arguments}], **more)
        self.messages.append(
            {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": json.dumps(arguments)}}]}
        )
        self.messages.append({"role": "tool", "content": text})
        return opened

    def say(self, text: str, answer: str, **more: Any) -> bool:
        """One answer without tools, and what is said to it."""
        opened = self.call(output=[{"role": "assistant", "content": text}], **more)
        self.messages += [{"role": "assistant", "content": text}, {"role": "user", "content": answer}]
        return opened


def opened_at(steps: Iterable[Callable[[], bool]]) -> int | None:
    """In which step, from 1, a finding was opened."""
    return next((number for number, step in enumerate(steps, 1) if step()), None)


def prose(dice: Random, count: int) -> str:
    """Words that nobody has said before, most of them."""
    syllables = "ka lo mi ten sur vel dra pon qui ber fas nor".split()
    return " ".join("".join(dice.choices(syllables, k=3)) for _ in range(count))


@pytest.fixture(params=[True, False], ids=["history", "inline"])
def agent(request: pytest.FixtureRequest) -> Agent:
    return Agent(history=request.param)


def test_the_same_search_with_other_request_ids_and_paths_is_a_loop(agent: Agent) -> None:
    dice = Random(1)

    def step() -> bool:
        token = f"{dice.getrandbits(60):x}"
        arguments = {
            "query": "old churches of the town",
            "corr": token,
            "out": f"/tmp/{token}/{dice.randrange(99)}.json",
        }
        return agent.tool("search", arguments, f"[{token}] {PAGE} (node-{dice.randrange(90)})")

    found = opened_at(step for _ in range(20))
    assert found is not None and found <= 10
    (finding,) = agent.found
    assert finding.rule == "loop.runaway" and finding.details["how"] == "near"
    assert "nearly the same step" in finding.why and "an hour" in finding.why


def test_a_question_in_other_words_that_brings_the_same_answer_is_a_loop(agent: Agent) -> None:
    ways = ("old churches {}", "where are the churches {}", "{} churches: which are old", "list of churches {}")
    found = opened_at(
        lambda n=n: agent.tool("search", {"query": ways[n % 4].format("in Berlin")}, PAGE)  # type: ignore[misc]
        for n in range(20)
    )
    assert found is not None and found <= 10


def test_a_statement_said_in_other_words_again_and_again_is_a_loop_without_tools() -> None:
    agent = Agent()
    ways = (
        "I will now search for the churches of Berlin.", "Next I am going to search the churches in Berlin.",
        "Let me search for Berlin and its churches.", "Now searching: the churches of Berlin.",
    )  # fmt: skip
    found = opened_at(lambda n=n: agent.say(ways[n * 7 % 4], "Continue.") for n in range(20))  # type: ignore[misc]
    assert found is not None and found <= 10


def test_a_list_that_was_named_is_worked_through_however_alike_the_answers_are() -> None:
    agent = Agent()
    names = [f"ORD{7_919 * number % 90_000 + 10_000}" for number in range(25)]
    agent.tool("list_orders", {"customer": "Jane"}, {"orders": names})
    for name in names:
        text = f"Order {name} was packed in Lisbon and handed to the carrier for delivery in the coming week."
        assert not agent.tool("get_order", {"order": name}, text)


def test_items_that_the_model_makes_up_and_finds_others_by_are_work(agent: Agent) -> None:
    dice = Random(7)
    for _ in range(25):
        rows = [{"ref": f"B-{dice.randrange(10_000, 99_999)}", "place": dice.choice(TOPICS[:3])} for _ in range(3)]
        assert not agent.tool("find_load", {"ref": f"A-{dice.randrange(10_000, 99_999)}"}, {"items": rows})


def test_items_that_the_model_makes_up_and_that_are_not_there_are_a_loop() -> None:
    agent, dice = Agent(), Random(7)

    def step() -> bool:
        name = f"A-{dice.randrange(10_000, 99_999)}"
        return agent.tool("find_load", {"ref": name}, f"{name} not found")

    found = opened_at(step for _ in range(20))
    assert found is not None and found <= 10


def test_a_batch_in_which_items_come_twice_and_labels_are_short_is_work() -> None:
    agent, dice = Agent(history=False), Random(5)
    for _ in range(40):
        item = f"Label this item: the {dice.choice(TOPICS[:2])} is closed"
        answer = [{"role": "assistant", "content": dice.choice(("praise", "billing", "other"))}]
        assert not agent.call(input=[{"role": "user", "content": item}], output=answer)


def test_one_item_of_that_list_looked_at_again_and_again_is_a_loop() -> None:
    agent = Agent()
    agent.tool("list_orders", {"customer": "Jane"}, {"orders": ["ORD17001", "ORD17002"]})
    dice = Random(2)
    found = opened_at(
        lambda: agent.tool("get_order", {"order": "ORD17001", "trace": f"{dice.getrandbits(40):x}"}, PAGE)
        for _ in range(15)
    )
    assert found is not None and found <= 10


def test_many_changes_of_one_mould_are_work(agent: Agent) -> None:
    dice = Random(3)
    for _ in range(25):
        body = {
            "to": f"{dice.getrandbits(30):x}@example.com",
            "text": "Dear customer, your invoice is attached to this mail.",
        }
        assert not agent.tool("send_mail", body, {"sent": True})


def test_pages_are_read_one_after_the_other(agent: Agent) -> None:
    for page in range(25):
        rows = [{"id": 100 * page + row, "title": f"The {TOPICS[(page + row) % 12]} of the town"} for row in range(3)]
        assert not agent.tool("list_rows", {"filter": "churches of the old town", "page": page}, {"rows": rows})


def test_a_poller_that_says_how_far_it_is_gets_on(agent: Agent) -> None:
    for percent in range(0, 100, 4):
        text = f"The job is running and has converted {percent} of 100 files; please wait for the others to finish."
        assert not agent.tool("get_job", {"job": "export"}, text)


def test_a_poller_that_waits_in_peace_is_given_time() -> None:
    hasty, patient = Agent(history=False), Agent(history=False)
    assert opened_at(lambda: hasty.tool("get_job", {"job": "x"}, "running") for _ in range(30)) == RULE.rounds
    waited = opened_at(lambda: patient.tool("get_job", {"job": "x"}, "running", after_ms=45_000) for _ in range(30))
    assert waited == RULE.patient * RULE.rounds


def test_a_file_that_is_read_again_after_each_edit_is_work(agent: Agent) -> None:
    lines = [f"def {topic}(): return {number}" for number, topic in enumerate(TOPICS)]
    for number in range(20):
        lines[number % 12] = f"def {TOPICS[number % 12]}_{number}(): return {TOPICS[(number + 5) % 12]!r}"
        assert not agent.tool("edit_file", {"path": "a.py", "new": lines[number % 12]}, "ok")
        assert not agent.tool("read_file", {"path": "a.py"}, "\n".join(lines))


def test_people_who_repeat_themselves_are_left_alone_and_programs_are_not() -> None:
    person, program = Agent(run=None), Agent()
    sorry = "I am sorry, your parcel has left the harbour and will arrive within the next days."
    for _ in range(8):
        assert not person.say(sorry, "Where is my parcel?", after_ms=20_000)
    assert opened_at(lambda: program.say(sorry, "Where is my parcel?") for _ in range(12)) is not None


def test_a_long_text_written_piece_by_piece_is_work() -> None:
    agent = Agent()
    dice = Random(4)
    for _ in range(30):
        assert not agent.say(prose(dice, 40), "Continue.")


def test_known_steps_in_a_new_order_are_a_stall_once_the_input_only_grows() -> None:
    agent = Agent()
    dice = Random(5)
    pages = {topic: f"{PAGE} It is about the {topic}." for topic in TOPICS[:4]}
    for topic, page in pages.items():
        agent.tool("search", {"query": f"the {topic} of the town"}, page)
    found = opened_at(
        lambda: agent.tool("search", {"query": f"the {(topic := dice.choice(TOPICS[:4]))} of the town"}, pages[topic])
        for _ in range(40)
    )
    assert found is not None and found <= 30


def test_the_steps_of_two_processes_of_one_run_do_not_hide_a_loop_in_one_of_them() -> None:
    agent = Agent(history=False)
    dice = Random(6)

    def step(number: int) -> bool:
        if number % 2:
            return agent.tool(
                "read_news", {"topic": dice.choice(TOPICS)}, " ".join(dice.sample(TOPICS, 8)) + str(number)
            )
        return agent.tool("search", {"query": "old churches of the town"}, PAGE)

    found = opened_at(lambda n=n: step(n) for n in range(40))  # type: ignore[misc]
    assert found is not None and found <= 2 * RULE.again


def test_results_belong_to_the_calls_that_the_input_shows_whoever_called_in_between() -> None:
    event = msgspec.convert(
        {
            "tenant": "acme",
            "input": [
                {"role": "user", "content": "?"},
                {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"q": 1}'}}]},
                {"role": "tool", "content": "a"},
            ],
            "output": "done",
        },
        Event,
    )
    marks = loop_marks(event, KEY)
    alone = loop_marks(
        msgspec.convert({"tenant": "acme", "tool_calls": [{"name": "f", "arguments": {"q": 1}}]}, Event), KEY
    )
    assert marks is not None and alone is not None
    assert marks.asked == alone.actions


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}}]},
    ],
)
def test_requests_are_found_in_every_shape(message: dict[str, Any]) -> None:
    event = msgspec.convert(
        {"tenant": "acme", "input": [message, {"role": "tool", "content": "a"}], "output": "b"}, Event
    )
    marks = loop_marks(event, KEY)
    assert marks is not None and len(marks.asked) == 1


def test_different_questions_to_one_tool_are_work(agent: Agent) -> None:
    dice = Random(7)
    for _ in range(40):
        assert not agent.tool("search", {"query": prose(dice, 3)}, prose(dice, 12))


def test_texts_that_came_as_hashes_are_the_same_or_not_but_never_near() -> None:
    def looked(digest: str) -> str:
        return look({"length": 24, "hash": digest}, KEY).loose

    assert looked("06e39f4bcd06b78c53264aa7241b119b") == looked("06e39f4bcd06b78c53264aa7241b119b")
    assert looked("06e39f4bcd06b78c53264aa7241b119b") != looked("dbbc15c5c2cfab8169d5dfa99dd759d6")

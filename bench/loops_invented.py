"""Invented agents, looping and honest, for `bench detection` (b): nothing was chosen by what is found in them.

Honest runs do what looks like a loop from far: they poll, page, work through lists, retry with patience, read again
what they have changed, talk to people who repeat themselves, and write long texts piece by piece. Calls come in the
shapes that
applications send: with the whole history, with the last message only, or with results beside the calls.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

from bench.loops_material import NOON_MS, Call, Case, prose
from schemas.event import Event

_NOUNS: Final = (
    "invoice parcel warehouse customer ticket server database branch commit module function parser schema index cache "
    "queue report forecast budget supplier contract shipment refund patient appointment prescription recipe garden "
    "bicycle museum painting river mountain island harbour festival orchestra novel chapter character detective "
    "lighthouse engine battery sensor voltage turbine satellite telescope experiment hypothesis sample enzyme protein "
    "climate glacier forest beetle falcon whale harvest vineyard bakery kitchen blanket candle mirror staircase "
    "chimney corridor balcony fountain"
).split()
_ADJECTIVES: Final = (
    "late broken heavy recent annual fragile narrow quiet ancient modern remote seasonal electric hidden wooden "
    "northern curious reliable expensive minor urgent partial digital coastal bitter golden crowded"
).split()
_CITIES: Final = (
    "Lisbon Oslo Kyoto Quito Tunis Perth Leipzig Ghent Turin Cork Bergen Malmo Porto Graz Basel Aarhus".split()
)
_NAMES: Final = (
    "Aylin Bruno Carmen Dmitri Elif Farid Greta Hiro Ingrid Jonas Keiko Leila Marco Nadia Omar Petra".split()
)

LOOPING: Final = (
    "stuck_same", "stuck_round", "stuck_reworded", "stuck_ids", "stuck_errors", "stuck_retries", "stuck_agents",
    "stuck_plans",
)  # fmt: skip
HONEST: Final = (
    "poller", "pages", "list", "bulk", "patient_retries", "chat", "editing", "testing", "long_text", "crawl", "figures",
    "lookups",
)  # fmt: skip


@dataclass
class _Agent:
    """One run being written: its dice, its conversation, and how its application sends it."""

    name: str
    dice: Random
    style: str
    at_ms: float = NOON_MS
    history: list[dict[str, Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    pace_ms: float = 2_500

    def round(self) -> None:
        """The next call begins a round of a loop."""
        self.rounds.append(len(self.calls))

    def tool(self, name: str, arguments: dict[str, Any], result: Any, says: str | None = None) -> None:
        """One step with a tool."""
        text = result if isinstance(result, str) else json.dumps(result)
        call = {"name": name, "arguments": arguments if self.style == "inline" else json.dumps(arguments)}
        if self.style == "inline":
            self._send(says, [{**call, "result": result}])
            return
        self._send(says, [call])
        ident = f"call_{self.dice.getrandbits(48):x}"
        if self.style == "anthropic":
            self.history.append(
                {"role": "assistant", "content": [{"type": "tool_use", "id": ident, "name": name, "input": arguments}]}
            )
            self.history.append(
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": ident, "content": text}]}
            )
        else:
            wanted = {"id": ident, "type": "function", "function": call}
            self.history.append({"role": "assistant", "content": says, "tool_calls": [wanted]})
            self.history.append({"role": "tool", "tool_call_id": ident, "content": text})

    def say(self, text: str) -> None:
        """One answer without tools."""
        self._send(text, None)
        self.history.append({"role": "assistant", "content": text})

    def hear(self, text: str, role: str = "user", after_ms: float = 0.0) -> None:
        """Somebody says something to the model."""
        self.at_ms += after_ms
        self.history.append({"role": role, "content": text})

    def fail(self, status: str, error: dict[str, Any], after_ms: float) -> None:
        """One call that fails; the next begins `after_ms` later."""
        self._send(None, None, status=status, error=error)
        self.at_ms += after_ms

    def _send(self, says: str | None, tools: list[dict[str, Any]] | None, **more: Any) -> None:
        latency = self.dice.uniform(400, 4_000)
        given = [] if self.style == "inline" else self.history[-2:] if self.style == "last" else list(self.history)
        body = {
            "tenant": "acme", "feature": "agent", "run": self.name, "input": given or None,
            "output": None if says is None else [{"role": "assistant", "content": says}],
            "tool_calls": tools, "latency_ms": latency, **more,
        }  # fmt: skip
        self.calls.append(Call(msgspec.convert(body, Event), int(self.at_ms)))
        self.at_ms += latency + self.dice.expovariate(1 / self.pace_ms)

    def sentence(self) -> str:
        """A real sentence."""
        return self.dice.choice(self.dice.choice(prose()))

    def text(self, sentences: int) -> str:
        """Sentences that belong together, as far as an answer has so many."""
        answer = self.dice.choice(prose())
        begin = self.dice.randrange(max(1, len(answer) - sentences + 1))
        return " ".join(answer[begin : begin + sentences])


def invent(kind: str, number: int) -> Case:
    """A run of a kind; the same every time for the same number."""
    dice = Random(f"invented:{kind}:{number}")
    agent = _Agent(f"{kind}-{number}", dice, dice.choice(("openai", "openai", "anthropic", "inline", "last")))
    agent.hear(f"Task: {agent.text(2)} Report what you find.", after_ms=0)
    for _ in range(dice.randrange(4)):
        agent.tool(f"read_{dice.choice(_NOUNS)}", {"topic": dice.choice(_NOUNS)}, agent.text(dice.randint(1, 4)))
    _KINDS[kind](agent, dice)
    begins = agent.rounds[0] if kind in LOOPING else None
    return Case(agent.name, kind, agent.calls, begins, agent.rounds if kind in LOOPING else [])


# -- looping


def _stuck_same(agent: _Agent, dice: Random) -> None:
    arguments = {"path": f"src/{dice.choice(_NOUNS)}.py"}
    result = agent.text(dice.randint(1, 6))
    for _ in range(14):
        agent.round()
        agent.tool("read_file", arguments, result)


def _stuck_round(agent: _Agent, dice: Random) -> None:
    steps = [
        (f"{verb}_{dice.choice(_NOUNS)}", {"query": dice.choice(_NOUNS)}, agent.text(2))
        for verb in dice.sample(("get", "list", "check", "describe"), dice.randint(2, 4))
    ]
    for _ in range(9):
        agent.round()
        for name, arguments, result in steps:
            agent.tool(name, arguments, result)


def _stuck_reworded(agent: _Agent, dice: Random) -> None:
    noun, city = dice.choice(_NOUNS), dice.choice(_CITIES)
    result = {"results": [{"title": agent.sentence(), "snippet": agent.text(2)} for _ in range(dice.randint(1, 3))]}
    frames = (
        "{a} {n} in {c}", "where is the {a} {n} of {c}", "{c} {n} {a} overview",
        "information about the {n} near {c} ({a})", "{n} {c} {a} official page", "best source on {a} {n} for {c}",
        "{a} {n}, {c}: facts and figures",
    )  # fmt: skip
    adjective = dice.choice(_ADJECTIVES)
    for _ in range(16):
        agent.round()
        query = dice.choice(frames).format(a=adjective, n=noun, c=city)
        agent.tool("web_search", {"query": query}, result, dice.choice((None, f"Let me look for {noun} again.")))


def _stuck_ids(agent: _Agent, dice: Random) -> None:
    body = agent.text(3)
    question = f"{dice.choice(_ADJECTIVES)} {dice.choice(_NOUNS)} {dice.choice(_NOUNS)}"
    for _ in range(16):
        agent.round()
        token = f"{dice.getrandbits(64):016x}"
        arguments = {"q": question, "requestToken": token, "cacheDir": f"/var/tmp/{dice.getrandbits(24):x}/out.json"}
        agent.tool("lookup_notes", arguments, f"[{token}] {body} (served by node-{dice.randrange(90)})")


def _stuck_errors(agent: _Agent, dice: Random) -> None:
    tool, noun = f"query_{dice.choice(_NOUNS)}", dice.choice(_NOUNS)
    for _ in range(16):
        agent.round()
        column = dice.choice(_NOUNS)
        arguments = {
            "sql": f"SELECT {column}, {dice.choice(_NOUNS)} FROM {noun} WHERE {column} > {dice.randrange(900)}"
        }
        agent.tool(tool, arguments, f"Error: relation {noun} does not exist (line {dice.randrange(9)})")


def _stuck_retries(agent: _Agent, dice: Random) -> None:
    agent.hear(agent.sentence())
    for _ in range(16):
        agent.round()
        agent.fail("rate_limited", {"type": "rate_limit_error", "http_status": 429}, dice.uniform(50, 900))


def _stuck_agents(agent: _Agent, dice: Random) -> None:
    agent.style = "last"
    noun, city = dice.choice(_NOUNS), dice.choice(_CITIES)
    asks = (
        f"Please search for the {noun} in {city} and report.", f"Could you look for the {noun} in {city} once more?",
        f"Continue with the search: the {noun}, {city}.", f"We still need the {noun} of {city}; search again.",
    )  # fmt: skip
    answers = (
        f"I searched for the {noun} in {city} but found no page about it.",
        f"No page about the {noun} in {city} was found by my search.",
        f"My search for a {noun} in {city} gave no result page.",
    )
    for _ in range(14):
        agent.round()
        agent.hear(dice.choice(answers), role="assistant")
        agent.say(dice.choice(asks))
        agent.hear(agent.history[-1]["content"], role="assistant")
        agent.say(dice.choice(answers))


def _stuck_plans(agent: _Agent, dice: Random) -> None:
    nouns = dice.sample(_NOUNS, 4)
    plans = (
        f"I will first collect the {nouns[0]} and then compare the {nouns[1]}.",
        f"Next the {nouns[1]} must be compared before the {nouns[2]} is clear.",
        f"To make progress I have to collect the {nouns[0]} and check the {nouns[3]}.",
        f"My plan: check the {nouns[3]}, then the {nouns[2]}.",
        f"The {nouns[2]} depends on the {nouns[0]}, so I will collect it first.",
    )
    for _ in range(36):
        agent.round()
        agent.say(dice.choice(plans))
        agent.hear(dice.choice(("Continue.", "Go on.")))


# -- honest


def _poller(agent: _Agent, dice: Random) -> None:
    job, value = f"job-{dice.randrange(9_999)}", dice.randrange(5)
    shape = dice.randrange(3)
    while value < 100:
        value = min(100, value + dice.randint(1, 12))
        result: Any = (
            {"job": job, "state": "running", "percent": value},
            f"{job} is running: {value} of 100 files converted, please wait for the remaining ones to finish.",
            {"state": "running", "log": agent.sentence(), "done": value},
        )[shape]
        agent.tool("get_job", {"job": job}, result)


def _pages(agent: _Agent, dice: Random) -> None:
    query, size = dice.choice(_NOUNS), dice.choice((10, 20, 50))
    by_offset = dice.random() < 0.5
    for page in range(dice.randint(6, 16)):
        rows = [{"id": page * size + row, "name": dice.choice(_NAMES), "item": agent.sentence()} for row in range(4)]
        place = {"offset": page * size} if by_offset else {"page": page + 1}
        agent.tool("list_rows", {"filter": query, "limit": size, **place}, {"rows": rows, "total": 300})


def _list(agent: _Agent, dice: Random) -> None:
    """Items that a tool has named, worked through one by one; answers are of one mould."""
    count = dice.randint(8, 20)
    names = [f"{dice.choice('ABCDEFGH')}{dice.randrange(10_000, 99_999)}" for _ in range(count)]
    if agent.style == "last":
        agent.style = "openai"
    agent.tool("list_orders", {"customer": dice.choice(_NAMES)}, {"orders": names})
    mould = dice.randrange(3)
    for name in names:
        result: Any = (
            {"order": name, "status": dice.choice(("shipped", "shipped", "packed"))},
            f"Order {name} was packed in {dice.choice(_CITIES)} and handed to the carrier for delivery next week.",
            "ok",
        )[mould]
        tool = "archive_order" if mould == 2 else "get_order"
        agent.tool(tool, {"order": name}, result)


def _bulk(agent: _Agent, dice: Random) -> None:
    """Many similar changes; every one is work done."""
    tool = dice.choice(("create_ticket", "send_message", "update_row", "delete_file"))
    for place in range(dice.randint(8, 20)):
        arguments = {"number": place + 100, "title": f"{dice.choice(_ADJECTIVES)} {dice.choice(_NOUNS)}"}
        agent.tool(tool, arguments, dice.choice(({"ok": True}, "done", {"created": place + 100})))


def _patient_retries(agent: _Agent, dice: Random) -> None:
    agent.hear(agent.sentence())
    wait_ms = dice.uniform(500, 1_500)
    for _ in range(dice.randint(6, 11)):
        agent.fail("rate_limited", {"type": "rate_limit_error", "http_status": 429}, wait_ms)
        wait_ms *= dice.uniform(1.9, 2.3)
    agent.say(agent.text(2))


def _chat(agent: _Agent, dice: Random) -> None:
    """A person who asks the same thing again and again."""
    agent.style = dice.choice(("openai", "last"))
    noun = dice.choice(_NOUNS)
    asks = (
        f"Where is my {noun}?", f"I asked where my {noun} is.", f"Hello? My {noun}?", f"where is my {noun}",
        f"Can you please just tell me where the {noun} is?",
    )  # fmt: skip
    for _ in range(dice.randint(5, 9)):
        agent.hear(dice.choice(asks), after_ms=dice.uniform(8_000, 90_000))
        agent.say(
            f"I am sorry about the {noun}. "
            + dice.choice((agent.sentence(), f"It left {dice.choice(_CITIES)} and will arrive soon.", agent.text(2)))
        )


def _editing(agent: _Agent, dice: Random) -> None:
    """Edits a file and reads it again each time."""
    path = f"src/{dice.choice(_NOUNS)}.py"
    lines = [agent.sentence() for _ in range(12)]
    for _ in range(dice.randint(6, 12)):
        place = dice.randrange(len(lines))
        old, lines[place] = lines[place], agent.sentence()
        agent.tool("edit_file", {"path": path, "old": old, "new": lines[place]}, "ok")
        agent.tool("read_file", {"path": path}, "\n".join(lines))


def _testing(agent: _Agent, dice: Random) -> None:
    """Changes code until the tests pass; fewer fail each time."""
    failing = dice.sample(_NOUNS, dice.randint(6, 10))
    while failing:
        agent.tool("edit_file", {"path": f"{failing[0]}.py", "new": agent.sentence()}, "ok")
        if dice.random() < 0.8:
            failing.pop(0)
        listed = ", ".join(f"test_{name}" for name in failing)
        agent.tool("run_tests", {"suite": "unit"}, f"{len(failing)} failed: {listed}" if failing else "all passed")


def _long_text(agent: _Agent, dice: Random) -> None:
    """A long text, piece by piece."""
    for _ in range(dice.randint(12, 24)):
        agent.hear(dice.choice(("Continue.", "Go on.", "Next part, please.")))
        agent.say(agent.text(dice.randint(5, 9)))


def _crawl(agent: _Agent, dice: Random) -> None:
    """Addresses out of a page, opened one by one; some are gone."""
    links = [
        f"https://site{dice.randrange(900)}.example.org/{dice.choice(_NOUNS)}/{n}" for n in range(dice.randint(8, 18))
    ]
    if agent.style == "last":
        agent.style = "openai"
    agent.tool("open_page", {"url": "https://start.example.org/"}, "\n".join(links))
    for link in links:
        gone = dice.random() < 0.4
        agent.tool("open_page", {"url": link}, "HTTP 404 Not Found" if gone else agent.text(dice.randint(2, 5)))


def _figures(agent: _Agent, dice: Random) -> None:
    """The same question for other parameters; answers are numbers."""
    metric = dice.choice(("revenue", "visitors", "latency", "yield"))
    for month in range(dice.randint(8, 12)):
        arguments = {"metric": metric, "from": f"2025-{month + 1:02d}-01", "city": dice.choice(_CITIES)}
        agent.tool("run_report", arguments, {"metric": metric, "value": round(dice.uniform(10, 9_000), 2)})


def _lookups(agent: _Agent, dice: Random) -> None:
    """Different questions to one tool, with ordinary answers."""
    for _ in range(dice.randint(8, 16)):
        agent.tool(
            "search_docs",
            {"query": f"{dice.choice(_ADJECTIVES)} {dice.choice(_NOUNS)}"},
            agent.text(dice.randint(1, 4)),
        )


_KINDS: Final[dict[str, Callable[[_Agent, Random], None]]] = {
    name: globals()[f"_{name}"] for name in (*LOOPING, *HONEST)
}


def cases(kinds: tuple[str, ...], each: int) -> Iterator[Case]:
    """So many runs of each kind."""
    for kind in kinds:
        for number in range(each):
            yield invent(kind, number)

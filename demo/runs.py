"""Units of work that agents do: tool calls whose results come back in the next prompt, pollers, and stuck loops.

An agent that works, one that waits for a job that makes progress, and one that is stuck look alike from far: all
repeat a tool. Only the stuck one gets the same results to the same calls, again and again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from demo.desk import Body, Desk, Said, Who
from demo.phrases import ANSWERS, ASKS, SYSTEM, fill, say
from demo.scenario import Incident

TOOLS: Final[dict[str, tuple[str, ...]]] = {
    "bank": ("find_customer", "list_payments", "read_statement", "open_case"),
    "health": ("find_patient", "list_visits", "read_report", "book_slot"),
    "insurance": ("find_claim", "list_documents", "read_policy", "request_photo"),
    "shop": ("find_order", "list_shipments", "read_stock", "issue_refund"),
    "travel": ("find_booking", "list_flights", "read_fares", "hold_room"),
    "learning": ("find_course", "list_exercises", "read_solution", "assign_task"),
    "software": ("search_code", "list_failures", "read_file", "run_tests"),
    "logistics": ("find_load", "list_trucks", "read_manifest", "plan_route"),
    "media": ("search_archive", "list_sources", "read_article", "check_quote"),
}
POLLER_SHARE: Final = 0.12
REPEAT_SHARE: Final = 0.04
PLACES: Final = ("north", "harbour", "centre", "airport", "old town", "river", "station", "park")


class Dialog:
    """The growing conversation of one run.

    Args:
        desk: Whose run.
        run: Its identifier.
        task: What the agent was told.
    """

    def __init__(self, desk: Desk, run: str, task: str) -> None:
        self.desk = desk
        self.person = desk.person()
        self.run = run
        self.trace = desk.token("t")
        self.step = 0
        self.tokens = desk.size(desk.feature.input_tokens * 0.8, 0.3)
        system = fill(SYSTEM, self.person, desk.tenant.name)
        self.messages: list[Body] = [{"role": "system", "content": system}, {"role": "user", "content": task}]

    def use(
        self, at_ms: float, tool: str, arguments: Body, result: Body, *, fragile: bool = True
    ) -> tuple[list[Body], float]:
        """One step that asks for a tool; its result is in the next step's prompt."""
        wanted = json.dumps(arguments)
        call_id = f"call_{self.desk.rng.getrandbits(60):015x}"
        asked = [{"name": tool, "arguments": arguments, "id": call_id}]
        events, done_ms = self._ask(at_ms, Said(list(self.messages), None, asked), fragile=fragile)
        if events[-1]["status"] == "ok":
            function = {"name": tool, "arguments": wanted}
            called = {"id": call_id, "type": "function", "function": function}
            self.messages.append({"role": "assistant", "tool_calls": [called]})
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": json.dumps(result)})
        return events, done_ms

    def finish(self, at_ms: float) -> list[Body]:
        """The last step, which answers."""
        answer = say(self.desk.rng, ANSWERS, self.person)
        return self._ask(at_ms, Said(list(self.messages), answer))[0]

    def _ask(self, at_ms: float, said: Said, *, fragile: bool = True) -> tuple[list[Body], float]:
        desk = self.desk
        who = Who(self.person, run=self.run, step=self.step, trace=self.trace)
        cached = int(self.tokens * 0.7) // 128 * 128 if self.step else 0
        output_tokens = desk.size(desk.feature.output_tokens, 0.3)
        if not desk.with_text:
            said = Said(tool_calls=said.tool_calls)
        events, done_ms = desk.ask(at_ms, who, said, self.tokens, output_tokens, cached=cached, fragile=fragile)
        self.step += 1
        self.tokens += output_tokens + desk.size(180, 0.3)
        return events, done_ms


def agent(desk: Desk, at_ms: float) -> Iterator[Body]:
    """A run that gets somewhere: other calls, other results; now and then it looks at the same thing twice."""
    rng = desk.rng
    if rng.random() < POLLER_SHARE:
        yield from poller(desk, at_ms)
        return
    dialog = Dialog(desk, desk.token("run"), say(rng, ASKS[desk.tenant.trade], desk.person()))
    tools = TOOLS[desk.tenant.trade]
    query, page = rng.choice(PLACES), 1
    for step in range(min(14, 2 + int(rng.expovariate(1 / 3.6)))):
        tool = tools[0] if step == 0 else rng.choice(tools)
        if rng.random() < 0.35:  # reads on where it was
            page += 1
            arguments: Body = {"query": query, "page": page}
        else:
            query, page = rng.choice(PLACES), 1
            arguments = {"reference": f"{rng.choice('ABCDEF')}-{rng.randint(10_000, 99_999)}"}
        result = _found(desk)
        for _ in range(2 if rng.random() < REPEAT_SHARE else 1):
            events, done_ms = dialog.use(at_ms, tool, arguments, result)
            yield from events
            at_ms = done_ms + rng.uniform(200, 2_500)
    yield from dialog.finish(at_ms)


def poller(desk: Desk, at_ms: float) -> Iterator[Body]:
    """A run that waits for a job: the same call each time, but the job makes progress. Not a loop."""
    rng = desk.rng
    dialog = Dialog(desk, desk.token("run"), "Start the monthly export and tell me when it is done.")
    job, done = desk.token("job"), 0
    while done < 100:
        done = min(100, done + rng.randint(6, 17))
        result = {"job": job, "state": "done" if done == 100 else "running", "progress": done, "rows": done * 413}
        events, done_ms = dialog.use(at_ms, "get_job_status", {"job": job}, result)
        yield from events
        at_ms = done_ms + rng.uniform(20_000, 45_000)
    yield from dialog.finish(at_ms)


def loop(desk: Desk, incident: Incident) -> Iterator[Body]:
    """The planted loop: a call and its result repeated, or two in turn, or with an identifier that always changes."""
    rng = desk.rng
    dialog = Dialog(desk, incident.run, say(rng, ASKS[desk.tenant.trade], desk.person()))
    tools = TOOLS[desk.tenant.trade]
    at_ms: float = incident.start_ms
    first: tuple[str, Body, Body] = (tools[0], {"query": "harbour", "page": 1}, {"items": [], "note": "nothing found"})
    second: tuple[str, Body, Body] = (
        tools[2],
        {"reference": "A-10442"},
        {"state": "incomplete", "hint": f"use {tools[0]} first"},
    )
    turns = (first, second) if incident.form == "alternating" else (first,)
    while at_ms < incident.end_ms:
        tool, arguments, result = turns[dialog.step % len(turns)]
        if incident.form == "volatile":
            result = {**result, "request_id": f"{rng.getrandbits(64):016x}"}
        events, done_ms = dialog.use(at_ms, tool, arguments, result, fragile=False)
        yield from events
        at_ms = done_ms + rng.uniform(1_500, 6_000)


def _found(desk: Desk) -> Body:
    rng = desk.rng
    items = [
        {"reference": f"{rng.choice('ABCDEF')}-{rng.randint(10_000, 99_999)}", "place": rng.choice(PLACES)}
        for _ in range(rng.randint(1, 3))
    ]
    return {"items": items, "more": rng.random() < 0.4}

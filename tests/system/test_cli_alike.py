"""`tokentrail query --similar` and `--source`: like answers across tenants, who cited a document, who may see it."""

from __future__ import annotations

import json
import time
import uuid

import pytest

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system

NOW_MS = time.time_ns() // 10**6
ACME, GLOBEX = (f"{name}-{uuid.uuid4().hex[:6]}" for name in ("acme", "globex"))
IDS = [str(uuid.uuid4()) for _ in range(4)]
REASON = ("--user", "investigator", "--reason", "test of similar answers")
SPREE = (
    "The old bridge over the river was built by merchants who wanted to bring salt and amber to the market; its arches "
    "stand on oak piles, and a mill below it ground flour for the town until the great flood."
)
AGAIN = SPREE.replace("merchants who wanted", "merchants that wished").replace(
    "great flood", "terrible flood of spring"
)
OTHER = (
    "Silicon sensors in a telescope are cooled with nitrogen so that single photons of distant galaxies can be counted."
)


def call(tenant, ident, output, *sources):
    return {
        "kind": "call", "id": ident, "ts": NOW_MS, "tenant": tenant, "feature": "chat", "provider": "own", "model": "m",
        "output": [{"role": "assistant", "content": output}], "retrieval": {"requested": 3, "hits": 2, "sources":
    list(sources)}, }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def rows(installation, tmp_path_factory):
    from pipeline.cli.main import main

    events = [
        call(ACME, IDS[0], SPREE, "handbook.pdf", "prices.csv"), call(GLOBEX, IDS[1], AGAIN, "handbook.pdf"),
        call(ACME, IDS[2], OTHER, "prices.csv"), call(ACME, IDS[3], ""),
    ]  # fmt: skip
    file = tmp_path_factory.mktemp("alike") / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    with pytest.raises(SystemExit) as ended:
        main(["emit", str(file), "--wait", "--wait-timeout", "60", "--json", "--data", str(installation.folder)])
    assert not ended.value.code


def test_answers_that_share_most_words_are_found_across_tenants(run):
    done = run("query", "--similar", IDS[0], *REASON, "--json")
    assert done.code == 0, done.err
    (one,) = done.lines
    assert (one["tenant"], one["id"]) == (GLOBEX, IDS[1]) and 0.5 < one["alike"] < 1
    assert "merchants that wished" in one["output"]
    alone = run("query", "--similar", IDS[2], *REASON)
    assert alone.code == 1 and "Nothing is like it" in alone.err


def test_who_may_not_read_text_may_not_look_for_it(run):
    assert run("query", "--similar", IDS[0]).code == 2
    assert "must say why" in run("query", "--similar", IDS[0], "--user", "investigator").err
    assert "No text of call" in run("query", "--similar", IDS[3], *REASON).err


def test_a_document_is_found_by_its_name_in_every_tenant_although_only_hashes_are_stored(run):
    found = run("query", "--source", "handbook.pdf", "--json")
    assert {(line["tenant"], line["id"]) for line in found.lines} == {(ACME, IDS[0]), (GLOBEX, IDS[1])}
    mine = run("query", "--source", "prices.csv", "--tenant", ACME, "--json")
    assert {line["id"] for line in mine.lines} == {IDS[0], IDS[2]}
    nothing = run("query", "--source", "unheard.txt")
    assert nothing.code == 1 and "No call cited 'unheard.txt'." in nothing.err


def test_the_sketch_goes_with_the_text(installation):
    client = installation.clickhouse("custodian")
    table, where = f"{installation.settings.database}.call_content", f"WHERE id = '{IDS[2]}'"

    def put(output):
        client.command(
            f"ALTER TABLE {table} UPDATE output = {{o:String}} {where}", {"o": output}, settings={"mutations_sync": 2}
        )

    ((kept, sketch),) = client.query(f"SELECT output, output_sketch FROM {table} {where}").result_rows
    assert kept and sketch
    try:
        put("")
        left = client.query(f"SELECT output, output_sketch FROM {table} {where}").result_rows
        assert [(text, list(bits)) for text, bits in left] == [("", [])]
    finally:
        put(kept)  # other tests verify the same rows


def test_they_stand_alone(run):
    assert "stand alone" in run("query", "cost", "--similar", IDS[0]).err
    assert "Say a report" in run("query").err

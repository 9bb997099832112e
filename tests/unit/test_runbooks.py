"""Every rule has a page for whoever is woken by it, and the commands that it names are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pipeline.cli.main import app
from pipeline.detection.registry import BY_NAME

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
PARTS = ("**What it means.**", "**How to look.**", "**What to do.**", "**When it is wrong.**")


@pytest.mark.parametrize("rule", sorted(BY_NAME))
def test_a_rule_has_a_runbook_that_says_what_to_do(rule: str) -> None:
    page = RUNBOOKS.parents[1] / BY_NAME[rule].recipe().life.runbook
    assert page.is_file(), f"{rule} points to {page}, which is not there"
    text = page.read_text()
    assert text.startswith(f"# {rule}\n")
    assert [part for part in PARTS if part not in text] == []


def test_a_runbook_is_of_a_rule() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - set(BY_NAME) == set()


def test_runbooks_name_commands_and_options_that_there_are() -> None:
    commands: Any = typer.main.get_command(app)
    wrong = []
    for page in RUNBOOKS.glob("*.md"):
        for line in re.findall(r"`tokentrail ([^`]*)`", page.read_text().replace("\n", " ")):
            command = commands.get_command(None, line.split()[0])
            known = set() if command is None else {"--help", *(name for one in command.params for name in one.opts)}
            has_parts = hasattr(command, "commands")
            if command is None or not (has_parts or set(re.findall(r"--[a-z-]+", line)) <= known):
                wrong.append((page.name, line))
    assert wrong == []

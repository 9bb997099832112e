"""One running installation for the tests of the command, and a way to run a command in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main
from tests.installation import Installation

# Patterns only: names are not what these tests are about.
STAGES = ("measure", "redact", "sink")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    found = Installation(Path(tmp_path_factory.mktemp("cli")), {"TOKENTRAIL_NER": "false"})
    try:
        found.start()
        found.start_stages(STAGES)
        for name in found.environment:  # the stages have it; other tests of the session must not
            os.environ.pop(name)
        yield found
    finally:
        found.stop()


@pytest.fixture
def run(installation: Installation, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command on the installation; everything it wrote and its exit code."""

    def run_command(*arguments: object) -> Done:
        installation.check()
        try:
            main([*map(str, arguments), "--data", str(installation.folder)])
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        written = capsys.readouterr()
        return Done(code, written.out, written.err)

    return run_command

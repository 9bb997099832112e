"""One worker process seen from its parent: start it, ask it with a deadline, kill it. No retries and no policy here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from pipeline.redaction.errors import EngineError
from pipeline.redaction.frames import Ask, Deadline, Hello, Start, WireAnswer, receive, send
from pipeline.redaction.values import Answer, Finding, RedactionConfig

_ONE_THREAD: Final = {
    # One core a worker: more workers are the way to more cores, and threads of a matrix library only fight over them.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
}


class WorkerHung(Exception):
    """The worker did not answer in time. It has been killed."""


class WorkerDied(Exception):
    """The worker ended, or answered nonsense. It has been killed if that was needed."""


class WorkerProcess:
    """A process that holds an engine.

    The thread that creates it must live as long as the process is wanted: the kernel ends the process with that thread.

    Attributes:
        pid: its process id.
        manifest: its engine's manifest.
        sieve: what tells texts without findings (`Sieve.load`); empty if nothing can.
    """

    def __init__(self, config: RedactionConfig, database: bytes = b"") -> None:
        """Start the process and wait until its engine has passed the self-test.

        Args:
            config: for its engine.
            database: compiled gates of an equal engine; saves it a second or two.

        Raises:
            EngineError: if it cannot be started, says why it cannot work, or takes longer than `start_timeout_s`.
        """
        self._config = config
        self._channel, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "pipeline.redaction.worker", str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
        self.pid = self._process.pid
        try:
            hello = self._greet(database)
            self.manifest, self.sieve = hello.manifest, hello.sieve
        except BaseException:
            self.kill()
            raise

    def _greet(self, database: bytes) -> Hello:
        deadline = Deadline(self._config.start_timeout_s)
        try:
            send(self._channel, Start(self._config, database), deadline)
            hello: Hello = receive(self._channel, Hello, deadline)
        except TimeoutError as error:
            raise EngineError(f"a redaction worker was not ready within {self._config.start_timeout_s:g} s") from error
        except (EOFError, OSError, msgspec.MsgspecError) as error:
            raise EngineError(f"a redaction worker ended while starting: {self._last_words()}") from error
        if hello.error:
            raise EngineError(f"a redaction worker cannot work: {hello.error}")
        return hello

    def _last_words(self) -> str:
        """The last line of the error output. Only during start-up, when the worker has not been given any text."""
        self._process.kill()
        _, output = self._process.communicate()
        lines = output.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def ask(self, texts: Sequence[str], names: bool = True) -> list[Answer]:
        """Have texts judged; `names` False: without the model.

        Raises:
            WorkerHung: after the time that the configuration allows for so many characters.
            WorkerDied: if the process is gone.
        """
        deadline = Deadline(self._config.timeout_s(sum(map(len, texts))))
        try:
            send(self._channel, Ask(list(texts), names), deadline)
            answers: list[WireAnswer] = receive(self._channel, list[WireAnswer], deadline)
        except TimeoutError as error:
            self.kill()
            raise WorkerHung from error
        except (EOFError, OSError, msgspec.MsgspecError) as error:
            self.kill()
            raise WorkerDied from error
        if len(answers) != len(texts):
            self.kill()
            raise WorkerDied
        return [a if isinstance(a, str) else [Finding(*f) for f in a] for a in answers]

    def kill(self) -> None:
        """End the process at once and wait for it. Doing so twice does no harm."""
        self._channel.close()
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


def _environment() -> dict[str, str]:
    """Ours without the pipeline's own settings (a worker needs no password), with our import path."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TOKENTRAIL_")}
    return {**inherited, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)}

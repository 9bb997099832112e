"""The ClickHouse server process: `python -m infra.embedded.clickhouse_child PARENT_PID DATA_FOLDER PORT`.

`chdb-core` carries clickhouse-local, which listens when it is told to and serves for as long as a query of its own
runs; so that query never ends. SIGTERM, or the end of the parent, is a clean stop: that query is killed over HTTP by
the owner, and the server closes its tables. The private name `_chdb` is why the package's version is pinned.
"""

from __future__ import annotations

import http.client
import os
import signal
import sys
import threading
import time
from pathlib import Path

from infra.access.matrix import OWNER
from infra.embedded import passwords
from infra.embedded.clickhouse_http import ask
from infra.embedded.folder import Folder
from infra.embedded.leash import end_with

# The query wakes once in this time; it is also how long a stop may take to be noticed.
WAKE_S = 0.25
_OURS = f"SELECT sleepEachRow({WAKE_S}) FROM numbers(4000000000)"
_KEEP_SERVING = f"{_OURS} SETTINGS max_block_size = 1, log_queries = 0 FORMAT Null"
_STOP = f"KILL QUERY WHERE query LIKE '{_OURS}%' ASYNC FORMAT Null"
_COUNT_OTHERS = f"SELECT count() - 1 FROM system.processes WHERE query NOT LIKE '{_OURS}%'"

# On a stop, queries of others may go on for this long, and then the server has this long to close.
OTHERS_LIMIT_S = 3.0
CLOSE_LIMIT_S = 0.75


def main(parent_pid: int, folder: Folder, port: int) -> int:
    """Serve until told to stop; return the exit code."""
    # Blocked in every thread that starts from here on, so that nothing of chdb's handles it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    end_with(parent_pid)
    # Imported before the working folder changes: the module looks for its files relative to it.
    from chdb import _chdb  # its functions are not in its type stubs

    os.chdir(folder.clickhouse)
    failure: list[str] = []

    def serve() -> None:
        # The format becomes the server's default; clients of ours count on this one.
        try:
            answer = _chdb.query(  # type: ignore[attr-defined]
                f"SYSTEM START LISTEN HTTP; {_KEEP_SERVING}", "TabSeparated", path=str(folder.clickhouse / "data")
            )
            failure.append(answer.error_message())
        except Exception as error:  # whatever it was, the parent must read it
            failure.append(str(error))

    server = threading.Thread(target=serve, name="clickhouse", daemon=True)
    server.start()
    while server.is_alive():
        server.join(0.25)
        if signal.SIGTERM in signal.sigpending() or os.getppid() != parent_pid:
            return _stop(server, folder, port)
    print(failure[-1] if failure else "ended", file=sys.stderr, flush=True)
    return 1


def _stop(server: threading.Thread, folder: Folder, port: int) -> int:
    """Let running queries end, write the logs, close.

    The server waits five seconds for clients that keep an idle connection; nothing is lost by not waiting, since by
    then everything is written: what follows would only free memory.
    """
    word = passwords.read(folder, OWNER)
    try:
        deadline = time.monotonic() + OTHERS_LIMIT_S
        while ask(port, OWNER, word, _COUNT_OTHERS) != b"0\n" and time.monotonic() < deadline:
            time.sleep(0.05)
        ask(port, OWNER, word, "SYSTEM FLUSH LOGS")
        ask(port, OWNER, word, _STOP)
    except (OSError, http.client.HTTPException) as error:
        print(f"the stop was not heard: {error}", file=sys.stderr, flush=True)
        return 1
    server.join(CLOSE_LIMIT_S)
    return 0


if __name__ == "__main__":
    code = main(int(sys.argv[1]), Folder(Path(sys.argv[2])), int(sys.argv[3]))
    sys.stderr.flush()
    # Past the interpreter's own end, which would wait for the server's thread.
    os._exit(code)

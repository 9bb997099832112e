"""`servers.json`: which ports and processes belong to a data folder. Holds no secrets, so that anybody may read it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.embedded.folder import Folder, write_private
from infra.embedded.processes import ProcessId


@dataclass(frozen=True)
class State:
    """What is known of the servers of one data folder.

    Attributes:
        ports: by name (`kafka`, `kafka_controller`, `clickhouse`); kept after a stop, to be used again.
        owner: the process that started the servers, None after a clean stop.
        servers: the servers' processes by name.
    """

    ports: dict[str, int] = field(default_factory=dict)
    owner: ProcessId | None = None
    servers: dict[str, ProcessId] = field(default_factory=dict)


def load(folder: Folder) -> State:
    """Return the folder's state; an empty one when there is none or it is unreadable."""
    try:
        loaded: dict[str, Any] = json.loads(folder.state_file.read_text(encoding="utf-8"))
        owner = loaded["owner"]
        return State(
            ports={str(name): int(port) for name, port in loaded["ports"].items()},
            owner=None if owner is None else ProcessId(int(owner["pid"]), str(owner["started"])),
            servers={
                str(name): ProcessId(int(process["pid"]), str(process["started"]))
                for name, process in loaded["servers"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return State()


def save(folder: Folder, state: State) -> None:
    """Replace the folder's state.

    Raises:
        NotWritable: if the folder cannot be written.
    """
    write_private(folder.state_file, json.dumps(asdict(state), indent=2) + "\n")

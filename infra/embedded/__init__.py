"""Real Kafka and real ClickHouse on this machine, without Docker and without a system Java.

Importing this costs nothing: Java, chdb and the download machinery load when servers start, and chdb in the child only.
"""

from infra.embedded.errors import (
    AlreadyRunning,
    CorruptedJar,
    EmbeddedError,
    NoNetwork,
    NotWritable,
    PortTaken,
    StartFailed,
    StartTimeout,
    UnsupportedPlatform,
)
from infra.embedded.servers import EmbeddedServers, Endpoints, read_endpoints, read_secret

__all__ = [
    "AlreadyRunning",
    "CorruptedJar",
    "EmbeddedError",
    "EmbeddedServers",
    "Endpoints",
    "NoNetwork",
    "NotWritable",
    "PortTaken",
    "StartFailed",
    "StartTimeout",
    "UnsupportedPlatform",
    "read_endpoints",
    "read_secret",
]

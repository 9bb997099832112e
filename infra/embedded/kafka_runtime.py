"""What runs Kafka's classes: a Java, the jars, the machine's flags, and a cache of loaded classes when there is one.

Knows nothing of nodes and data folders.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from infra.embedded import jars, java

# The first-tier compiler only: a broker moves bytes, and in the minutes that an embedded one lives, the second tier
# costs more processor than it saves (measured: half the processor per event at the start, no more later on).
FLAGS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)


@dataclass(frozen=True)
class KafkaRuntime:
    """A Java with Kafka's classes.

    Attributes:
        program: the `java` to run.
        jar_folder: where the locked jars are.
        class_cache: flags that read or write the cache of loaded classes; empty without one.
    """

    program: Path
    jar_folder: Path
    class_cache: tuple[str, ...] = ()

    def command(self, properties: tuple[str, ...], main_class: str, *arguments: str) -> list[str]:
        """Return the command line that runs one of Kafka's programs."""
        # By name and in the lock file's order: a stray jar in the folder is not loaded, and the class cache is only
        # good for one class path.
        class_path = os.pathsep.join(str(self.jar_folder / jar.file_name) for jar in jars.locked_jars())
        return [
            str(self.program),
            *FLAGS,
            *self.class_cache,
            *properties,
            "-cp",
            class_path,
            main_class,
            *arguments,
        ]

    def with_class_cache(self, *flags: str) -> KafkaRuntime:
        """Return the same runtime with these flags for the cache of loaded classes."""
        return replace(self, class_cache=flags)


def ensure(tell: Callable[[str], None]) -> KafkaRuntime:
    """Find Java and the jars, fetching what is missing.

    Raises:
        EmbeddedError: as `java.find` and `jars.ensure`.
    """
    return KafkaRuntime(program=java.find(), jar_folder=jars.ensure(tell))

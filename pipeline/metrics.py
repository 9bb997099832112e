"""Every metric the pipeline exports, by name and with its meaning; the reference page is made from this list.

Stages import the objects; `serve` opens the Prometheus endpoint of a process on loopback.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from pipeline.settings import Settings

RECORDS = Counter("tokentrail_records_total", "Records a stage has worked off", ["stage", "type"])
RANGES = Counter("tokentrail_ranges_total", "Ranges a stage has worked off", ["stage"])
RANGE_SECONDS = Histogram(
    "tokentrail_range_seconds",
    "Time from taking a range to its last acknowledgement",
    ["stage"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
RANGE_RETRIES = Counter("tokentrail_range_retries_total", "Ranges that had to be repeated", ["stage", "reason"])
SKIPPED = Counter(
    "tokentrail_skipped_total", "Records not applied: duplicates and records behind a hole", ["stage", "why"]
)
MARK = Gauge("tokentrail_mark_offset", "Next source offset that a stage waits for", ["stage", "partition"])
LAG = Gauge("tokentrail_lag_records", "Records in the input that a stage has not worked off", ["stage", "partition"])
DEAD_LETTERS = Counter("tokentrail_dead_letters_total", "Records that could not be used", ["reason"])
DROPPED_FIELDS = Counter("tokentrail_dropped_fields_total", "Fields outside the allow-list")
REDACTED = Counter("tokentrail_redactions_total", "Replacements in text", ["entity"])
REDACTION_FAILED = Counter(
    "tokentrail_redaction_failed_total", "Texts replaced whole because redaction was in doubt", ["reason"]
)
REDACTION_CACHE = Counter("tokentrail_redaction_cache_total", "Texts looked up in the message cache", ["result"])
ROWS = Counter("tokentrail_rows_total", "Rows inserted", ["table"])
CLASSIFIED = Counter("tokentrail_classified_total", "Answers given to a classifier", ["classifier", "result"])
ANOMALIES = Counter("tokentrail_anomalies_total", "Anomaly revisions published", ["rule", "state"])
RAW_DELETED = Counter("tokentrail_raw_deleted_total", "Raw records deleted after their row and fact", ["partition"])
TIME_TO_LOSS = Gauge(
    "tokentrail_time_to_loss_seconds",
    "Until the oldest record that a stage has not read is deleted; the topic's whole life when none waits",
    ["stage", "topic", "partition"],
)
LATE = Counter("tokentrail_late_events_total", "Events behind the allowed lateness", ["stage"])
KEYS_HELD = Gauge("tokentrail_state_keys", "Keys held in memory", ["stage", "kind"])
INTERNAL_ERRORS = Counter(
    "tokentrail_internal_errors_total", "Exceptions out of our own code for one record", ["stage"]
)
KEPT = Counter("tokentrail_keep_jobs_total", "Runs of the jobs of `keep`, by how they ended", ["job", "outcome"])
RESTARTS = Counter("tokentrail_stage_restarts_total", "Stage processes started again by the supervisor", ["stage"])


def serve(settings: Settings) -> int:
    """Open this process's Prometheus endpoint; returns the port that was bound."""
    server, _ = start_http_server(settings.metrics_port, addr=settings.metrics_host)
    return int(server.server_port)

"""The Faust application of one stage: settings that are safe for ranges, one agent, one group.

Everything that Faust 0.15.3 must be told differently from its defaults stands here with its reason; nothing here knows
lanes or stages beyond a name and a topic.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import faust
import mode
from faust import streams
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from yarl import URL

from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.transport.fetching import FAUST_LOG
from pipeline.transport.plugin import CODEC, RangeHost

# A kill -9 is noticed after the session timeout; shorter ones fall to a busy machine's pauses.
SESSION_TIMEOUT_S: Final = 8.0
HEARTBEAT_S: Final = 2.0
COMMIT_EVERY_S: Final = 2.0
# Nobody waits longer than this for a member that does not come back from a rebalance.
REBALANCE_TIMEOUT_S: Final = 30.0
# A stage may repeat a range for hours (its sink is away) without leaving the group.
POLL_INTERVAL_S: Final = 86_400.0
# Most records that aiokafka decodes at a time, over all partitions.
POLL_RECORDS: Final = 2_000
STREAM_BUFFER: Final = 8


class _Boot(BootStrategy):  # type: ignore[misc]
    """No web server, no sensors, no producer of Faust's own: each would wake an idle process."""

    enable_web = False
    enable_sensors = False
    enable_kafka_producer = False


class _NoTables(TableManager):  # type: ignore[misc]
    """The stock manager waits a second at start for tables that may still be defined."""

    logger = FAUST_LOG

    async def on_start(self) -> None:
        """Begin at once; recovery is what ends a rebalance, with or without tables."""
        await self._update_channels()
        await self.recovery.start()


class _App(faust.App):  # type: ignore[misc]
    """Faust's application with our boot strategy and the host that the plug-in looks for."""

    logger = FAUST_LOG
    BootStrategy = _Boot
    range_host: RangeHost | None = None

    async def on_first_start(self) -> None:
        """The stock one makes a data directory that nothing here uses."""


def stage_app(settings: Settings, stage: str, topic: str, fetched: Callable[[Any], None]) -> Any:
    """The application of a stage.

    Args:
        settings: Where Kafka is.
        stage: Name of the stage; the consumer group is made from it.
        topic: Physical name of the input topic.
        fetched: Called with each event of the plug-in, in the application's loop; must not raise.

    Raises:
        UsageError: The bootstrap servers or the security settings cannot be used.
    """
    if streams._CStreamIterator is None:  # the pure one acknowledges what it skips
        raise UsageError("Faust's compiled stream iterator is missing: install the binary wheel of faust-streaming.")
    if not settings.kafka_bootstrap:
        raise UsageError("No Kafka is named: set TOKENTRAIL_KAFKA_BOOTSTRAP to host:port.")
    app = _App(
        settings.group(stage),
        broker=[URL(f"kafka+range://{server.strip()}") for server in settings.kafka_bootstrap.split(",")],
        broker_credentials=credentials(settings),
        broker_client_id=f"tokentrail-{stage}",
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_max_poll_interval=POLL_INTERVAL_S,
        broker_max_poll_records=POLL_RECORDS,
        broker_commit_interval=COMMIT_EVERY_S,
        broker_commit_every=None,
        broker_check_crcs=True,
        consumer_auto_offset_reset="earliest",  # only where the log's start has passed our place
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,  # the lanes wait, with a limit
        stream_buffer_maxsize=STREAM_BUFFER,  # counts fetches
        stream_recovery_delay=0.0,
        web_enabled=False,
        TableManager=_NoTables,
        # An agent that Faust starts again swallows events: let it crash, the process ends.
        agent_supervisor=mode.CrashingSupervisor,
    )
    source = app.topic(topic, value_serializer=CODEC, key_serializer="raw", value_type=None)

    @app.agent(source, concurrency=1, name=f"tokentrail.{stage}")  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            fetched(event)

    return app


def credentials(settings: Settings) -> Any:
    """Faust's credentials from librdkafka's setting names; None for a plain connection.

    Raises:
        UsageError: The protocol or mechanism is not one that both clients know.
    """
    security = settings.kafka_access()
    protocol = security.get("security.protocol", "plaintext").lower()
    if protocol == "plaintext":
        return None
    context = _ssl_context(security) if protocol.endswith("ssl") else None
    if protocol == "ssl":
        return faust.SSLCredentials(context=context)
    mechanism = security.get("sasl.mechanism", security.get("sasl.mechanisms", "PLAIN")).upper()
    if protocol not in ("sasl_plaintext", "sasl_ssl") or mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        raise UsageError(
            f"Kafka security {protocol}/{mechanism} is not supported; use ssl, or sasl_ssl with PLAIN or SCRAM."
        )
    return faust.SASLCredentials(
        username=security.get("sasl.username"),
        password=security.get("sasl.password"),
        ssl_context=context,
        mechanism=mechanism,
    )


def _ssl_context(security: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.get("ssl.ca.location"))
        if "ssl.certificate.location" in security:
            context.load_cert_chain(
                Path(security["ssl.certificate.location"]),
                security.get("ssl.key.location"),
                security.get("ssl.key.password"),
            )
    except OSError as error:
        raise UsageError(f"A certificate or key file for Kafka cannot be used: {error.strerror or error}.") from error
    if security.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    return context

"""Log lines that quote nothing, security settings for both clients, exit codes that say why."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.errors import FencedError, RetryableError, UsageError
from pipeline.settings import Settings
from pipeline.transport import app, logs, runtime
from pipeline.transport.ranges import Limits, Range
from pipeline.transport.runtime import Runtime, run_stage
from pipeline.transport.stage import StageContext


class Nothing:
    """A stage that is never reached."""

    name = "nothing"
    source = "calls.raw"
    limits = Limits(1, 1, 0.0)

    async def open(self, context: StageContext) -> None: ...
    async def assigned(self, partition: int) -> int | None: ...
    async def work(self, range: Range) -> None: ...
    async def revoked(self, partition: int) -> None: ...
    async def idle(self, partition: int, now_s: float) -> None: ...
    async def close(self) -> None: ...


@pytest.fixture
def own_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def line(message: str, logger: str = "pipeline.x", **more: Any) -> dict[str, Any]:
    record = logging.LogRecord(logger, logging.WARNING, "x.py", 1, message, None, more.pop("exc_info", None))
    vars(record).update(more)
    text = logs.OneLine("measure").format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_log_line_is_one_json_object_with_its_fields() -> None:
    found = line("a range is repeated\nindeed", partition=3)
    assert (found["stage"], found["level"], found["partition"]) == ("measure", "warning", 3)
    assert "logger" not in found
    assert line("hello", logger="aiokafka")["logger"] == "aiokafka"


def test_the_text_of_an_exception_that_is_not_ours_is_never_logged() -> None:
    try:
        try:
            raise ValueError("Jane Doe, 4111 1111 1111 1111")
        except ValueError as cause:
            raise RetryableError("llm.calls cannot be read") from cause
    except RetryableError:
        found = line("failed", exc_info=sys.exc_info())
    assert found["exception"]["why"] == "llm.calls cannot be read"
    assert found["exception"]["cause"]["error"] == "ValueError"
    assert "Jane" not in json.dumps(found)


def test_a_library_says_the_same_only_now_and_then_and_we_always() -> None:
    seldom = logs._Seldom()
    theirs = [logging.LogRecord("aiokafka", logging.ERROR, "x", 1, "no broker", None, None) for _ in range(3)]
    ours = [logging.LogRecord("pipeline.x", logging.ERROR, "x", 1, "repeated", None, None) for _ in range(3)]
    assert [bool(seldom.filter(record)) for record in theirs] == [True, False, False]
    assert [bool(seldom.filter(record)) for record in ours] == [True, True, True]
    theirs[0].created += logs.SAME_AGAIN_S + 1
    assert seldom.filter(theirs[0])


def secured(**security: str) -> Settings:
    return Settings(kafka_bootstrap="k:9092", kafka_security={n.replace("_", "."): v for n, v in security.items()})


def test_security_settings_of_librdkafka_serve_the_other_client_too() -> None:
    assert app.credentials(secured()) is None
    plain = app.credentials(
        secured(security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_username="u", sasl_password="p")
    )
    assert (plain.username, plain.password, plain.mechanism.value) == ("u", "p", "SCRAM-SHA-512")
    assert isinstance(plain.ssl_context, ssl.SSLContext)
    assert app.credentials(secured(security_protocol="SSL")).protocol.value == "SSL"


def test_security_that_only_one_client_knows_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="sasl_ssl/GSSAPI is not supported"):
        app.credentials(secured(security_protocol="sasl_ssl", sasl_mechanism="GSSAPI"))
    with pytest.raises(UsageError, match="cannot be used"):
        app.credentials(secured(security_protocol="ssl", ssl_ca_location="/nowhere/ca.pem"))


def test_without_kafka_a_stage_ends_with_69_and_says_where_it_looked(
    own_logging: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtime, "KAFKA_AT_START_S", 0.0)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        where = f"127.0.0.1:{closed.getsockname()[1]}"
        assert run_stage(Nothing(), Settings(kafka_bootstrap=where, key_root="A" * 44)) == 69
    assert f"No Kafka answers at {where}. Start it" in capsys.readouterr().err


def test_without_an_address_a_stage_ends_with_2(own_logging: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stage(Nothing(), Settings(kafka_bootstrap="")) == 2
    assert "TOKENTRAIL_KAFKA_BOOTSTRAP" in capsys.readouterr().err


def test_the_first_error_decides_the_exit_code() -> None:
    async def code(*errors: BaseException) -> int:
        run = Runtime(Nothing(), Settings(kafka_bootstrap="k:9092"))
        for error in errors:
            run.fail(error)
        return run._code()

    assert asyncio.run(code()) == 0
    assert asyncio.run(code(FencedError("taken"), ValueError("x"))) == FencedError.exit_code
    assert asyncio.run(code(ValueError("x"))) == 70
    assert asyncio.run(code(UsageError("x"))) == 2

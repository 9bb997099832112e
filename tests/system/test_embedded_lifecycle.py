"""The embedded servers live and die as promised: data stays, ports stay, nobody is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra.embedded import (
    AlreadyRunning,
    EmbeddedServers,
    Endpoints,
    PortTaken,
    StartFailed,
    ports,
    read_endpoints,
    read_secret,
)
from infra.embedded import state as servers_state
from infra.embedded.folder import Folder
from infra.embedded.jars import cache_folder
from infra.embedded.ports import pick
from infra.embedded.processes import identify
from infra.embedded.servers import ServerName

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]


def eventually(holds: Callable[[], bool], *, within_s: float = 20.0) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def clickhouse(endpoints: Endpoints, user: str = "pipeline") -> Client:
    return clickhouse_connect.get_client(
        host=endpoints.clickhouse_host,
        port=endpoints.clickhouse_port,
        username=user,
        password=read_secret(endpoints.data_dir, user),
    )


def make_table(endpoints: Endpoints) -> None:
    client = clickhouse(endpoints)
    client.command("CREATE DATABASE IF NOT EXISTS tokentrail")
    client.command("CREATE TABLE tokentrail.calls (n UInt32) ENGINE = MergeTree ORDER BY n")
    client.close()


def add_row(endpoints: Endpoints, number: int) -> None:
    client = clickhouse(endpoints)
    client.insert("tokentrail.calls", [[number]], column_names=["n"])
    client.close()


def rows(endpoints: Endpoints) -> list[int]:
    client = clickhouse(endpoints)
    found = [row[0] for row in client.query("SELECT n FROM tokentrail.calls ORDER BY n").result_rows]
    client.close()
    return found


def make_topic(endpoints: Endpoints) -> None:
    admin = AdminClient({"bootstrap.servers": endpoints.kafka_bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(20)


def add_record(endpoints: Endpoints, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": endpoints.kafka_bootstrap, "acks": "all", "log_level": 0})
    producer.produce("kept", value)
    assert producer.flush(20) == 0


def records(endpoints: Endpoints) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": endpoints.kafka_bootstrap, "group.id": "reader", "log_level": 0})
    try:
        partition = TopicPartition("kept", 0, 0)
        _, end = consumer.get_watermark_offsets(partition, timeout=20)
        consumer.assign([partition])
        found: list[bytes] = []
        deadline = time.monotonic() + 20
        while len(found) < end and time.monotonic() < deadline:
            found += [
                value for message in consumer.consume(end - len(found), 1.0) if (value := message.value()) is not None
            ]
        return found
    finally:
        consumer.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    with EmbeddedServers(tmp_path_factory.mktemp("servers") / "data") as servers:
        make_table(servers.endpoints)
        make_topic(servers.endpoints)
        yield servers


def test_another_process_finds_the_servers_by_their_folder(running: EmbeddedServers) -> None:
    folder = running.endpoints.data_dir
    script = "import sys, pathlib, infra.embedded as e; print(e.read_endpoints(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.strip() == repr(running.endpoints)


def test_a_second_start_on_the_folder_is_refused_and_names_the_first(running: EmbeddedServers) -> None:
    before = running.pids()
    second = EmbeddedServers(running.endpoints.data_dir)
    with pytest.raises(AlreadyRunning, match=f"already running, started by process {os.getpid()}"):
        second.start()
    second.stop()
    assert running.pids() == before
    assert read_endpoints(running.endpoints.data_dir) == running.endpoints


@pytest.mark.parametrize("name", ["kafka", "clickhouse"])
def test_a_server_killed_and_restarted_has_its_data_on_its_port(running: EmbeddedServers, name: ServerName) -> None:
    endpoints, before = running.endpoints, running.pids()
    rows_before, records_before = rows(endpoints), records(endpoints)
    add_row(endpoints, len(rows_before))
    add_record(endpoints, name.encode())
    running.kill(name)
    assert running.exited() == {name: -signal.SIGKILL}
    assert set(running.pids()) == {"kafka", "clickhouse"} - {name}
    assert read_endpoints(endpoints.data_dir) == endpoints  # whoever waits for the server waits at the right place
    running.restart(name)
    assert running.exited() == {}
    assert running.endpoints == endpoints
    assert {other for other, pid in running.pids().items() if pid != before[other]} == {name}
    assert rows(endpoints) == [*rows_before, len(rows_before)]
    assert records(endpoints) == [*records_before, name.encode()]


def test_passwords_stand_in_one_private_file_and_nowhere_else(running: EmbeddedServers) -> None:
    folder = running.endpoints.data_dir
    secrets_file = running.endpoints.secrets_file
    assert stat.S_IMODE(secrets_file.stat().st_mode) == 0o600
    words = [word.encode() for word in json.loads(secrets_file.read_text()).values()]
    assert len(words) >= 6
    for pid in running.pids().values():
        for place in ("cmdline", "environ"):
            content = Path(f"/proc/{pid}/{place}").read_bytes()
            assert not any(word in content for word in words), f"/proc/{pid}/{place}"
    searched = 0
    for path in folder.rglob("*"):
        if path.is_file() and path != secrets_file and path.stat().st_size < 10_000_000:
            searched += 1
            assert not any(word in path.read_bytes() for word in words), path
    assert searched > 20


def test_a_topic_nobody_made_does_not_appear_by_itself(running: EmbeddedServers) -> None:
    admin = AdminClient({"bootstrap.servers": running.endpoints.kafka_bootstrap, "log_level": 0})
    admin.list_topics("never-made", timeout=10)
    assert "never-made" not in admin.list_topics(timeout=10).topics


def test_a_record_of_three_mebibytes_passes_and_one_of_five_is_refused(running: EmbeddedServers) -> None:
    admin = AdminClient({"bootstrap.servers": running.endpoints.kafka_bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("large", 1, 1)])["large"].result(20)
    outcome: list[object] = []
    producer = Producer(
        {"bootstrap.servers": running.endpoints.kafka_bootstrap, "message.max.bytes": 8_000_000, "log_level": 0}
    )
    for size_bytes in (3 * 1024**2, 5 * 1024**2):
        producer.produce("large", b"x" * size_bytes, on_delivery=lambda error, _: outcome.append(error))
        producer.flush(20)
    assert outcome[0] is None
    assert "MSG_SIZE_TOO_LARGE" in str(outcome[1])


def test_a_session_of_two_seconds_is_accepted_so_that_a_dead_member_is_noticed_soon(running: EmbeddedServers) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": running.endpoints.kafka_bootstrap,
            "group.id": "mortals",
            "session.timeout.ms": 2000,
            "heartbeat.interval.ms": 500,
            "log_level": 0,
        }
    )
    consumer.subscribe(["kept"])
    try:
        assert eventually(lambda: consumer.poll(0.1) is None and len(consumer.assignment()) == 1)
    finally:
        consumer.close()


def test_start_stop_start_keeps_data_ports_and_passwords(tmp_path: Path) -> None:
    servers = EmbeddedServers(tmp_path / "data")
    first = servers.start()
    make_table(first)
    make_topic(first)
    add_row(first, 1)
    add_record(first, b"one")
    word = read_secret(first.data_dir, "auditor")
    pids = servers.pids()
    assert set(pids) == {"kafka", "clickhouse"}
    servers.stop()
    servers.stop()
    assert servers.pids() == {}
    assert all(identify(pid) is None for pid in pids.values())
    assert read_endpoints(first.data_dir) is None

    with EmbeddedServers(tmp_path / "data") as again:
        assert again.endpoints == first
        assert rows(first) == [1]
        assert records(first) == [b"one"]
        assert read_secret(first.data_dir, "auditor") == word
        with pytest.raises(AlreadyRunning):
            again.start()
        assert set(again.pids()) == {"kafka", "clickhouse"}


def test_a_folder_with_an_awkward_name_works(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path / "my data, höchst privat & 'quoted' <x>") as servers:
        make_table(servers.endpoints)
        add_row(servers.endpoints, 1)
        assert rows(servers.endpoints) == [1]
        make_topic(servers.endpoints)
        add_record(servers.endpoints, b"one")
        assert records(servers.endpoints) == [b"one"]
        assert "Kafka Server started" in (servers.endpoints.data_dir / "logs" / "kafka.log").read_text()


def test_a_port_that_was_asked_for_and_is_taken_is_refused_by_number(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for asked, title in (
            (EmbeddedServers(tmp_path, kafka_port=port), "kafka"),
            (EmbeddedServers(tmp_path, clickhouse_port=port), "clickhouse"),
        ):
            with pytest.raises(PortTaken, match=f"Port {port} for {title} is in use by another process"):
                asked.start()
            assert asked.pids() == {}
    assert read_endpoints(tmp_path) is None


def test_ports_of_last_time_that_somebody_took_are_replaced(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, kafka=False) as servers:
        last = servers.endpoints.clickhouse_port
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", last))
        other.listen()
        with EmbeddedServers(tmp_path, kafka=False) as servers:
            assert servers.endpoints.clickhouse_port not in (0, last)
            assert servers.endpoints.kafka_bootstrap == ""


def test_a_port_that_is_asked_for_is_the_port(tmp_path: Path) -> None:
    port = pick(None)
    with EmbeddedServers(tmp_path, clickhouse_port=port, kafka=False) as servers:
        assert servers.endpoints.clickhouse_port == port


def test_a_port_that_somebody_takes_while_the_server_starts_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        # As if it had still been free at the choice.
        chosen = iter([taken, pick(None), pick(None), pick(None)])
        monkeypatch.setattr(ports, "pick", lambda preferred, but_not=frozenset(): next(chosen))
        with EmbeddedServers(tmp_path, kafka=False) as servers:
            assert servers.endpoints.clickhouse_port != taken
            assert clickhouse(servers.endpoints).command("SELECT 1") == 1


OWNER = """
import sys, time
from pathlib import Path
from infra.embedded import EmbeddedServers
servers = EmbeddedServers(Path(sys.argv[1]))
servers.start()
print(*servers.pids().values(), flush=True)
time.sleep(600)
"""


def test_servers_end_with_an_owner_that_is_killed_and_their_data_is_there_for_the_next(tmp_path: Path) -> None:
    data = tmp_path / "data"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(data)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert owner.stdout is not None
    servers = [identify(int(pid)) for pid in owner.stdout.readline().split()]
    endpoints = read_endpoints(data)
    assert endpoints is not None
    make_table(endpoints)
    make_topic(endpoints)
    add_row(endpoints, 7)
    add_record(endpoints, b"seven")
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert read_endpoints(data) is None
    # Not waited for: the next owner deals with servers that are still on their way out.
    with EmbeddedServers(data) as next_owner:
        assert not any(server is not None and server.is_alive() for server in servers)
        assert rows(next_owner.endpoints) == [7]
        assert records(next_owner.endpoints) == [b"seven"]


def test_a_server_left_behind_by_a_dead_owner_is_ended_before_a_new_one_starts(tmp_path: Path) -> None:
    orphan = subprocess.Popen(["/bin/sleep", "600"])
    folder = Folder(tmp_path)
    folder.create()
    identity = identify(orphan.pid)
    assert identity is not None
    servers_state.save(folder, servers_state.State(ports={}, owner=None, servers={"kafka": identity}))
    told: list[str] = []
    with EmbeddedServers(tmp_path, kafka=False, on_progress=told.append):
        assert orphan.wait(5) == -signal.SIGTERM
    assert f"stopping the kafka that its owner left behind (pid {orphan.pid})" in told


def test_both_killed_in_the_middle_of_writing_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path) as servers:
        endpoints = servers.endpoints
        make_topic(endpoints)
        make_table(endpoints)
        acknowledged: list[int] = []
        producer = Producer({"bootstrap.servers": endpoints.kafka_bootstrap, "acks": "all", "log_level": 0})

        def delivered(number: int) -> Callable[[object, object], None]:
            return lambda error, _: acknowledged.append(number) if error is None else None

        for number in range(20_000):
            producer.produce("kept", str(number).encode(), on_delivery=delivered(number))
            if number % 1000 == 0:
                producer.poll(0)
            if number == 15_000:
                add_row(endpoints, number)
                assert eventually(lambda: producer.poll(0.01) >= 0 and len(acknowledged) > 2000)
                surely = list(acknowledged)
                servers.kill("kafka")
                servers.kill("clickhouse")
                producer.purge()
                break
        servers.restart("clickhouse")
        servers.restart("kafka")
        kept = {int(value) for value in records(endpoints)}
        assert len(surely) > 2000
        assert set(surely) <= kept
        assert rows(endpoints) == [15_000]


def test_an_empty_environment_without_java_on_the_path_is_enough(tmp_path: Path) -> None:
    home, programs = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    for name in ("sh", "ps", "sleep", "uname"):
        found = shutil.which(name)
        if found:
            (programs / name).symlink_to(found)
    script = """
import os, sys
from pathlib import Path
from infra.embedded import EmbeddedServers
with EmbeddedServers(Path(sys.argv[1])) as servers:
    print(sorted(servers.pids()), sorted(os.environ))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        # The jars that this user has already are not fetched again for a test.
        env={"HOME": str(home), "PATH": str(programs), "XDG_CACHE_HOME": str(cache_folder().parents[1])},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.startswith("['clickhouse', 'kafka']"), done.stderr[-2000:]


def test_a_server_that_cannot_start_says_why_and_leaves_nothing_running(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, clickhouse=False):
        pass
    (tmp_path / "kafka" / "data" / "meta.properties").unlink()
    servers = EmbeddedServers(tmp_path)
    with pytest.raises(StartFailed, match=r"Kafka's data in .* is damaged: meta\.properties is missing"):
        servers.start()
    assert servers.pids() == {}
    assert read_endpoints(tmp_path) is None


def test_logs_of_both_are_in_one_folder(running: EmbeddedServers) -> None:
    logs = running.endpoints.data_dir / "logs"
    assert "Kafka Server started" in (logs / "kafka.log").read_text()
    assert {"kafka.log", "kafka.out", "clickhouse.out"} <= {path.name for path in logs.iterdir()}

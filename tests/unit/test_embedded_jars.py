"""Kafka's jars: fetched once, each checked, and a sentence for each thing that goes wrong. No network is used."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.embedded import jars
from infra.embedded.errors import CorruptedJar, NoNetwork
from infra.embedded.maven import REPOSITORY_SETTING, Jar
from infra.embedded.ports import pick

CONTENT = {
    "org.example:first:1.0": b"first jar " * 5000,
    "org.example.deep:second:2.1": b"second jar " * 7000,
    "com.example:third:3": b"third jar",
}
WANTED = tuple(Jar(coordinate, hashlib.sha256(body).hexdigest(), len(body)) for coordinate, body in CONTENT.items())


def place_of(coordinate: str) -> str:
    group, artifact, version = coordinate.split(":")
    return f"{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"


class Mirror:
    """A Maven repository on loopback that counts what is asked and can misbehave."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.files = {"/" + place_of(coordinate): body for coordinate, body in content.items()}
        self.asked: list[str] = []
        self.break_off_once: set[str] = set()
        self.lock = threading.Lock()

    @contextmanager
    def serve(self) -> Iterator[str]:
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with mirror.lock:
                    mirror.asked.append(self.path)
                    breaks_off = self.path in mirror.break_off_once
                    mirror.break_off_once.discard(self.path)
                body = mirror.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if breaks_off else body)
                if breaks_off:
                    self.close_connection = True

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()

    def times_asked(self, coordinate: str) -> int:
        return self.asked.count("/" + place_of(coordinate))


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    mirror = Mirror(dict(CONTENT))
    with mirror.serve() as address:
        monkeypatch.setenv(REPOSITORY_SETTING, address)
        yield mirror


def test_all_jars_are_fetched_from_the_mirror_once(mirror: Mirror, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    jars.ensure(print, cache=cache, wanted=WANTED)
    assert {path.name: path.read_bytes() for path in cache.glob("*.jar")} == {
        jar.file_name: CONTENT[jar.coordinate] for jar in WANTED
    }
    jars.ensure(print, cache=cache, wanted=WANTED)
    assert [mirror.times_asked(jar.coordinate) for jar in WANTED] == [1, 1, 1]


def test_a_folder_can_be_the_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for coordinate, body in CONTENT.items():
        path = tmp_path / "repository" / place_of(coordinate)
        path.parent.mkdir(parents=True)
        path.write_bytes(body)
    monkeypatch.setenv(REPOSITORY_SETTING, str(tmp_path / "repository"))
    folder = jars.ensure(print, cache=tmp_path / "cache", wanted=WANTED)
    assert (folder / "second-2.1.jar").read_bytes() == CONTENT["org.example.deep:second:2.1"]
    assert (tmp_path / "repository" / place_of("com.example:third:3")).exists()


def test_a_wrong_jar_from_the_mirror_is_named_and_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/" + place_of("org.example.deep:second:2.1")] = b"somebody else's jar"
    with pytest.raises(CorruptedJar, match=r"second-2\.1\.jar from http://127.* is not the file that was locked"):
        jars.ensure(print, cache=tmp_path, wanted=WANTED)
    assert not (tmp_path / "second-2.1.jar").exists()
    assert not list(tmp_path.glob(".fetch-*"))


def test_a_jar_damaged_on_disk_is_noticed_told_and_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    jars.ensure(print, cache=tmp_path, wanted=WANTED)
    (tmp_path / "first-1.0.jar").write_bytes(b"x" * len(CONTENT["org.example:first:1.0"]))
    told: list[str] = []
    jars.ensure(told.append, cache=tmp_path, wanted=WANTED)
    assert any("first-1.0.jar" in sentence and "damaged" in sentence for sentence in told)
    assert (tmp_path / "first-1.0.jar").read_bytes() == CONTENT["org.example:first:1.0"]
    assert [mirror.times_asked(jar.coordinate) for jar in WANTED] == [2, 1, 1]


def test_a_jar_that_only_got_a_new_date_is_not_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    jars.ensure(print, cache=tmp_path, wanted=WANTED)
    (tmp_path / "first-1.0.jar").touch()
    jars.ensure(print, cache=tmp_path, wanted=WANTED)
    assert [mirror.times_asked(jar.coordinate) for jar in WANTED] == [1, 1, 1]


def test_a_transfer_that_breaks_off_is_tried_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.break_off_once.add("/" + place_of("org.example:first:1.0"))
    jars.ensure(print, cache=tmp_path, wanted=WANTED)
    assert (tmp_path / "first-1.0.jar").read_bytes() == CONTENT["org.example:first:1.0"]
    assert mirror.times_asked("org.example:first:1.0") == 2


def test_an_unreachable_mirror_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{pick(None)}/maven2"
    monkeypatch.setenv(REPOSITORY_SETTING, address)
    with pytest.raises(NoNetwork) as caught:
        jars.ensure(print, cache=tmp_path, wanted=WANTED[:1])
    assert str(caught.value) == (
        f"first-1.0.jar could not be fetched from {address} (no connection). "
        f"Check the network, or set TOKENTRAIL_MAVEN_REPOSITORY to a mirror of Maven Central."
    )


def test_a_mirrors_login_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(REPOSITORY_SETTING, f"http://me:hunter2@127.0.0.1:{pick(None)}/maven2")
    with pytest.raises(NoNetwork, match=r"from http://127\.0\.0\.1:\d+/maven2 ") as caught:
        jars.ensure(print, cache=tmp_path, wanted=WANTED[:1])
    assert "hunter2" not in str(caught.value)


def test_a_jar_that_the_mirror_lacks_is_named(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files["/" + place_of("com.example:third:3")]
    with pytest.raises(NoNetwork, match=r"third-3\.jar could not be fetched .*it is not there"):
        jars.ensure(print, cache=tmp_path, wanted=WANTED)


def test_what_a_broken_fetch_did_bring_is_not_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files["/" + place_of("com.example:third:3")]
    with pytest.raises(NoNetwork):
        jars.ensure(print, cache=tmp_path, wanted=WANTED)
    assert sorted(path.name for path in tmp_path.glob("*.jar")) == ["first-1.0.jar", "second-2.1.jar"]
    mirror.files["/" + place_of("com.example:third:3")] = CONTENT["com.example:third:3"]
    jars.ensure(print, cache=tmp_path, wanted=WANTED)
    assert [mirror.times_asked(jar.coordinate) for jar in WANTED] == [1, 1, 2]


def test_two_that_start_together_fetch_once(mirror: Mirror, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: jars.ensure(print, cache=tmp_path, wanted=WANTED), range(4)))
    assert folders == [tmp_path] * 4
    assert [mirror.times_asked(jar.coordinate) for jar in WANTED] == [1, 1, 1]


def test_without_a_terminal_the_download_is_told_in_plain_lines(mirror: Mirror, tmp_path: Path) -> None:
    told: list[str] = []
    jars.ensure(told.append, cache=tmp_path, wanted=WANTED)
    assert told[0] == "fetching Kafka 4.3.1 (3 files, 0 MB, once)"
    assert told[-1] == "fetching Kafka 4.3.1: 100 %"


def test_the_lock_file_lists_every_jar_once_with_a_whole_hash() -> None:
    locked = jars.locked_jars()
    assert len({jar.file_name for jar in locked}) == len(locked) == 46
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size_bytes > 0 for jar in locked)
    assert f"org.apache.kafka:kafka_2.13:{jars.KAFKA_VERSION}" in {jar.coordinate for jar in locked}

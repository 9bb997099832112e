"""Encryption at rest: the engine writes no word of a table on an encrypted disk in clear, and reads it again.

The embedded server takes no storage policy out of its settings, as a server proper does; so the same disk is named by
the table here, with the algorithm of the file that containers are given.
"""

from __future__ import annotations

import secrets
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

import infra.embedded.clickhouse
from infra.embedded import EmbeddedServers
from pipeline.storage.client import ClickHouseError, Client
from tests.system.storage_support import settings_for

pytestmark = pytest.mark.system
AT_REST = Path(__file__).parents[2] / "infra/compose/clickhouse/at_rest.xml"
WORDS = "words that stand nowhere else"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    folder = tmp_path_factory.mktemp("rest")
    extra = f"  <custom_local_disks_base_directory>{folder}/disks/</custom_local_disks_base_directory>\n"
    policies = ElementTree.tostring(_at_rest("storage_configuration"), encoding="unicode")
    with pytest.MonkeyPatch.context() as patch:
        config = infra.embedded.clickhouse._CONFIG_XML.replace("</clickhouse>", f"{extra}{policies}</clickhouse>")
        patch.setattr(infra.embedded.clickhouse, "_CONFIG_XML", config)
        with EmbeddedServers(folder / "data", kafka=False) as found:
            yield found


def _at_rest(path: str) -> ElementTree.Element:
    found = ElementTree.parse(AT_REST).getroot().find(path)
    assert found is not None
    return found


def places(folder: Path) -> set[str]:
    """Files that hold the words in clear."""
    found = [path for path in folder.rglob("*") if path.is_file() and WORDS.encode() in path.read_bytes()]
    return {path.relative_to(folder).parts[0] for path in found if "query_log" not in str(path)}


def test_words_of_an_encrypted_table_are_found_in_no_file_and_those_of_a_plain_one_are(
    servers: EmbeddedServers,
) -> None:
    folder = servers.endpoints.data_dir.parent
    algorithm = _at_rest(".//sealed/algorithm").text
    disk = (
        f"disk(type = encrypted, algorithm = '{algorithm}', key_hex = '{secrets.token_hex(32)}', "
        f"disk = disk(type = local, path = '{folder}/disks/sealed/'))"
    )
    client = Client(settings_for(servers.endpoints), purpose="test")
    client.command("CREATE DATABASE tokentrail")
    columns = "(text String CODEC(NONE)) ENGINE = MergeTree ORDER BY tuple()"
    rows = f"SELECT concat('{WORDS[:5]}', '{WORDS[5:]}') FROM numbers(100)"
    client.command(f"CREATE TABLE tokentrail.sealed {columns} SETTINGS disk = {disk}")
    client.command(f"INSERT INTO tokentrail.sealed {rows}")
    assert list((folder / "disks").rglob("*.bin"))
    assert places(folder) == set()
    client.command(f"CREATE TABLE tokentrail.plain {columns}")
    client.command(f"INSERT INTO tokentrail.plain {rows}")
    assert places(folder) == {"data"}
    client.close()
    servers.restart("clickhouse")
    again = Client(settings_for(servers.endpoints), purpose="test")
    assert again.rows("SELECT count(), any(text) FROM tokentrail.sealed") == [(100, WORDS)]
    again.close()


def test_the_embedded_server_takes_no_storage_policy_out_of_its_settings(servers: EmbeddedServers) -> None:
    client = Client(settings_for(servers.endpoints), purpose="test")
    with pytest.raises(ClickHouseError, match="UNKNOWN_POLICY"):
        client.command(
            "CREATE TABLE tokentrail.named (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS storage_policy = 'sealed'"
        )
    client.close()

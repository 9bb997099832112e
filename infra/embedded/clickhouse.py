"""ClickHouse as a server on loopback, out of the module of `chdb-core`: its settings and when it is ready.

The server is a child process (`clickhouse_child`), because the module is large and its settings come from the working
folder. Knows nothing of tables.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from infra.access import readers
from infra.access.matrix import OWNER, USERS
from infra.access.rights import DATABASE
from infra.access.users_xml import embedded_users_xml
from infra.embedded import passwords
from infra.embedded.clickhouse_http import ask
from infra.embedded.errors import EmbeddedError, UnsupportedPlatform
from infra.embedded.folder import Folder, told_as_not_writable, write_private
from infra.embedded.ports import HOST

SERVER_MEMORY_BYTES = 2 * 1024**3
# chdb-core 26.9 takes a write that the disk refuses for a success: an insert into a full disk is acknowledged and its
# files are empty. So the server must refuse while there is still room for what it has begun.
KEEP_FREE_BYTES = 256 * 1024**2

_CONFIG_XML = """\
<clickhouse>
  <logger><level>none</level></logger>
  <listen_host>{host}</listen_host>
  <http_port>{port}</http_port>
  <users_config>{users}</users_config>
  <max_server_memory_usage>{memory_bytes}</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <max_connections>256</max_connections>
  <keep_alive_timeout>30</keep_alive_timeout>
  <storage_configuration>
    <disks><default><keep_free_space_bytes>{keep_free_bytes}</keep_free_space_bytes></default></disks>
  </storage_configuration>
  <access_control_improvements>
    <users_without_row_policies_can_read_rows>false</users_without_row_policies_can_read_rows>
    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
  </access_control_improvements>
  <query_log>
    <database>system</database>
    <table>query_log</table>
    <partition_by>event_date</partition_by>
    <ttl>event_date + INTERVAL 3 DAY DELETE</ttl>
    <flush_interval_milliseconds>10000</flush_interval_milliseconds>
  </query_log>
</clickhouse>
"""


# clickhouse-local, which the embedded server is, lets everybody read every file of this machine with the function
# `file`; a server proper asks for a right to do so. A function of ours under the same name comes first.
_NO_FILE_FUNCTION = "CREATE FUNCTION file AS (path) -> throwIf(1, 'ACCESS_DENIED: nobody reads files here');\n"


class ClickHouse:
    """One ClickHouse server in a data folder.

    Args:
        folder: The data folder; tenants' readers stand in its `tenant_readers.toml`.
        port: Where to listen.
        database: Database of the installation, which grants are for.
    """

    title = "ClickHouse"
    leashed = False  # the child ties itself to us

    def __init__(self, folder: Folder, port: int, database: str = DATABASE) -> None:
        self._folder = folder
        self._database = database
        self.port = port
        self.all_ports: tuple[int, ...] = (port,)
        self._home = folder.clickhouse
        self.log_file = folder.logs / "clickhouse.out"
        self.output_file = folder.logs / "clickhouse.out"

    def prepare(self) -> list[str]:
        """Make passwords once and write the settings.

        Returns:
            The command line.

        Raises:
            UnsupportedPlatform: if `chdb-core` is not installed.
            NotWritable: if the folder cannot be written.
            EmbeddedError: if the tenants' readers cannot be read.
        """
        if importlib.util.find_spec("chdb") is None:
            raise UnsupportedPlatform(
                "ClickHouse needs the package chdb-core (extra 'embedded'), which is not installed."
            )
        try:
            tenants = readers.load(self._folder.root / readers.FILE_NAME)
        except readers.ReadersError as error:
            raise EmbeddedError(str(error)) from None
        words = passwords.ensure(self._folder, (*USERS, *tenants))
        hashes = {user: passwords.sha256_hex(word) for user, word in words.items()}
        users_file = self._home / "users.xml"
        write_private(users_file, embedded_users_xml(hashes, self._database, tenants))
        functions = self._home / "data" / "user_defined"
        with told_as_not_writable(functions):
            functions.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(functions / "function_file.sql", _NO_FILE_FUNCTION)
        config = _CONFIG_XML.format(
            host=HOST,
            port=self.port,
            users=escape(str(users_file)),
            memory_bytes=SERVER_MEMORY_BYTES,
            keep_free_bytes=KEEP_FREE_BYTES,
        )
        write_private(self._home / "config.xml", config)
        module = "infra.embedded.clickhouse_child"
        return [sys.executable, "-m", module, str(os.getpid()), str(self._folder.root), str(self.port)]

    @property
    def working_folder(self) -> Path:
        """Where `infra` can be imported from."""
        return Path(__file__).resolve().parents[2]

    def is_ready(self) -> bool:
        """Say whether this very server (it knows our password) answers a query."""
        try:
            return ask(self.port, OWNER, passwords.read(self._folder, OWNER), "SELECT 1", limit_s=2.0) == b"1\n"
        except (OSError, http.client.HTTPException):
            return False

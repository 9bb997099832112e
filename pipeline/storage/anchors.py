"""Where anchors are put away: a folder, an object store by URL (`s3://bucket/folder`, through fsspec), or a mailbox.

An anchor that is there is never written over. Must not know what an anchor says. Blocking.
"""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import fsspec

from pipeline.audit.anchors import Anchor, is_name, name, read, write
from pipeline.errors import RetryableError, UsageError
from pipeline.settings import Settings

MAIL: Final = "mailto:"
MAIL_S: Final = 30.0


def place(settings: Settings) -> str:
    """Where this installation puts its anchors; empty when nobody said so and there is no data folder."""
    if settings.anchors or settings.data_dir is None:
        return settings.anchors
    return str(settings.data_dir / "anchors")


def put(settings: Settings, where: str, anchor: Anchor) -> str:
    """Put an anchor away; returns where it is now.

    Raises:
        RetryableError: The store or the mail server does not take it.
        UsageError: No such kind of store is known here, or no mail server is named.
    """
    if where.startswith(MAIL):
        return _mail(settings, where.removeprefix(MAIL), anchor)
    store, folder = _store(where)
    path = f"{folder}/{name(anchor)}"
    try:
        store.makedirs(folder, exist_ok=True)
        if not store.exists(path):
            store.pipe_file(path, write(anchor))
    except Exception as error:  # every store has errors of its own
        raise RetryableError(f"The anchor could not be put into {where} ({type(error).__name__})") from error
    return path


def names(where: str) -> list[str]:
    """File names of the anchors that are there, oldest first; none of a mailbox, which cannot be read."""
    if where.startswith(MAIL):
        return []
    store, folder = _store(where)
    try:
        if not store.exists(folder):
            return []
        found = [path.rsplit("/", 1)[-1] for path in store.ls(folder, detail=False)]
    except Exception as error:
        raise RetryableError(f"{where} cannot be read ({type(error).__name__})") from error
    return sorted(filter(is_name, found))


def get(where: str) -> list[tuple[str, Anchor | None]]:
    """(name, anchor) of everything that is called as anchors are; None where a file holds none.

    Raises:
        RetryableError: The store cannot be read.
        UsageError: No such kind of store is known here.
    """
    store, folder = _store(where)
    found: list[tuple[str, Anchor | None]] = []
    for each in names(where):
        try:
            data = store.cat_file(f"{folder}/{each}")
        except Exception as error:
            raise RetryableError(f"{where}/{each} cannot be read ({type(error).__name__})") from error
        try:
            found.append((each, read(data)))
        except ValueError:
            found.append((each, None))
    return found


def _store(where: str) -> tuple[Any, str]:
    try:
        store, folder = fsspec.url_to_fs(where)
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"Anchors cannot be kept at {where.split('://')[0]}:// ({error}). Install what fsspec names for it, or use "
            "a folder."
        ) from error
    return store, folder.rstrip("/")


def _mail(settings: Settings, to: str, anchor: Anchor) -> str:
    server = urlsplit(settings.smtp_url.get_secret_value())
    if not server.hostname:
        raise UsageError("No mail server: set TOKENTRAIL_SMTP_URL, for example smtps://user:password@mail.example.com.")
    message = EmailMessage()
    message["Subject"] = f"tokentrail anchor of {anchor.installation}"
    message["From"] = settings.mail_from or to
    message["To"] = to
    message.set_content("Keep this. It shows later that no record was changed before today: see `tokentrail verify`.")
    message.add_attachment(write(anchor), maintype="application", subtype="json", filename=name(anchor))
    try:
        with _smtp(server.scheme, server.hostname, server.port or 0) as connection:
            if server.username:
                connection.login(unquote(server.username), unquote(server.password or ""))
            connection.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise RetryableError(f"The anchor could not be mailed ({type(error).__name__})") from error
    return MAIL + to


def _smtp(scheme: str, host: str, port: int) -> smtplib.SMTP:
    """A connection that is encrypted unless `smtp+plain` says that it need not be (a relay on this machine)."""
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=MAIL_S, context=ssl.create_default_context())
    connection = smtplib.SMTP(host, port, timeout=MAIL_S)
    if scheme != "smtp+plain":
        connection.starttls(context=ssl.create_default_context())
    return connection

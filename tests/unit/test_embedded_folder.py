"""The data folder: what is written is whole and private, and a folder that cannot be written is said to be so."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.embedded import passwords
from infra.embedded.errors import EmbeddedError, NotWritable
from infra.embedded.filelock import FileLock
from infra.embedded.folder import Folder, told_as_not_writable, write_private

NOBODY = 65534


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may write everywhere; take another effective user for the body."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    readonly = tmp_path / "readonly"
    readonly.mkdir(mode=0o555)
    with as_ordinary_user(), pytest.raises(NotWritable, match=rf"{readonly}.* cannot be written \(permission denied\)"):
        Folder(readonly / "data").create()


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(NotWritable, match="cannot be written"):
        Folder(tmp_path / "data").create()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_called_a_full_disk(tmp_path: Path, code: int) -> None:
    with pytest.raises(NotWritable, match=r"The disk is full: .*Free some space"), told_as_not_writable(tmp_path):
        raise OSError(code, os.strerror(code))


def test_other_errors_of_the_system_are_not_renamed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), told_as_not_writable(tmp_path):
        (tmp_path / "nothing").read_text()


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.create()
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700


def test_a_private_file_is_never_readable_by_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "secrets.json", "one")
        write_private(tmp_path / "secrets.json", "two")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert (tmp_path / "secrets.json").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]


def test_passwords_are_made_once_and_differ(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first = passwords.ensure(folder, ("pipeline", "auditor"))
    again = passwords.ensure(folder, ("pipeline", "auditor", "finops"))
    assert again == first | {"finops": again["finops"]}
    assert len(set(again.values())) == 3
    assert all(len(word) >= 32 for word in again.values())
    assert passwords.read(folder, "auditor") == first["auditor"]


def test_a_secrets_file_that_became_readable_is_closed_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    passwords.ensure(folder, ("pipeline",))
    folder.secrets_file.chmod(0o644)
    passwords.ensure(folder, ("pipeline",))
    assert stat.S_IMODE(folder.secrets_file.stat().st_mode) == 0o600


def test_an_unknown_user_is_told_without_any_password(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    known = passwords.ensure(folder, ("pipeline", "auditor"))
    with pytest.raises(EmbeddedError, match=r"no user 'nobody'.*auditor, pipeline") as caught:
        passwords.read(folder, "nobody")
    assert not any(word in str(caught.value) for word in known.values())


def test_a_damaged_secrets_file_is_told_without_its_content(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.secrets_file.write_text(json.dumps({"pipeline": "hunter2hunter2"})[:-1])
    with pytest.raises(EmbeddedError) as caught:
        passwords.read(folder, "pipeline")
    assert "cannot be read" in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_lock_has_one_holder_and_names_it(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire(wait=False)
    assert not second.acquire(wait=False)
    assert second.holder() == str(os.getpid())
    first.release()
    assert second.acquire(wait=False)
    second.release()

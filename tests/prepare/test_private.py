import errno
import os

import pytest

from r2cmn.prepare import private
from r2cmn.prepare.private import make_folder, write_file


@pytest.fixture(autouse=True)
def _open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_folders_and_files_are_for_their_owner_only(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    make_folder(shared / "a" / "b")
    make_folder(shared / "a" / "b")
    write_file(shared / "a" / "b" / "file", b"content")
    modes = {path.name: path.stat().st_mode & 0o777 for path in [shared, *shared.rglob("*")]}
    assert modes == {"shared": 0o755, "a": 0o700, "b": 0o700, "file": 0o600}


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    write_file(tmp_path / "file", b"before")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(private.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "file", b"after")
    assert (tmp_path / "file").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

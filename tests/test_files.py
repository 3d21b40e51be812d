"""Files are written whole or not at all, and errors name the file."""

import stat

import pytest

from r2cmn.files import (
    cache_dir,
    load_optional,
    make_private_folder,
    read_json,
    read_object,
    whole_file,
    write_json,
    write_whole,
)


def test_a_file_is_written_whole_with_its_mode(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_whole(path, "a\nü", mode=0o600)
    assert path.read_bytes() == "a\nü".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_whole(path, b"bytes")
    assert path.read_bytes() == b"bytes"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_text_that_utf8_cannot_hold_is_escaped(tmp_path):
    write_whole(tmp_path / "file.txt", "\ud800")
    assert (tmp_path / "file.txt").read_text() == "\\ud800"


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="interrupted"), whole_file(path) as file:
        _fail_after_writing(file)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def _fail_after_writing(file):
    file.write(b"half")
    raise RuntimeError("interrupted")


def test_json_goes_there_and_back(tmp_path):
    write_json(tmp_path / "file.json", {"a": [1, None]})
    assert read_json(tmp_path / "file.json") == read_object(tmp_path / "file.json") == {"a": [1, None]}


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, None])
def test_a_bad_json_file_is_named(tmp_path, content):
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.json"):
        read_json(path)
    assert read_object(path) is None


def test_json_that_is_no_object_is_none(tmp_path):
    write_json(tmp_path / "list.json", [1])
    assert read_object(tmp_path / "list.json") is None


def test_private_folders_are_private(tmp_path):
    make_private_folder(tmp_path / "a" / "b")
    assert [stat.S_IMODE((tmp_path / p).stat().st_mode) for p in ("a", "a/b")] == [0o700, 0o700]


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path))
    assert cache_dir("images") == tmp_path / "images"
    monkeypatch.setenv("R2CMN_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "r2cmn"


def test_a_missing_library_is_named_with_its_extra():
    assert load_optional("json", "reading", "results").__name__ == "json"
    with pytest.raises(ValueError, match=r"no_such_library.*r2cmn\[results\]"):
        load_optional("no_such_library.part", "a table", "results")

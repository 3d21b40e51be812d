"""Files are written whole or not at all, and errors name the file."""

import csv
import errno
import gzip
import io
import os
import re
import stat
import time
from pathlib import Path

import pytest

from r2cmn.files import (
    cache_dir,
    check_targets,
    check_writable,
    load_optional,
    num_cores,
    read_json,
    read_object,
    whole_file,
    write_json,
    write_whole,
)
from r2cmn.files.folders import is_clutter, make_private_folder, remove_stale, walk_files
from r2cmn.files.tables import as_text, checked_rows, csv_lines, from_text, iter_csv, read_csv
from r2cmn.files.words import first_line, first_lines, name_some, utf8_fault
from r2cmn.files.yaml import read_yaml


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


def test_a_full_disk_names_the_file_and_not_its_temporary_name(tmp_path):
    with pytest.raises(OSError, match="the disk is full") as caught, whole_file(tmp_path / "file.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "file.txt"))


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(path, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert path.is_fifo()


def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (read_json, lambda path: list(csv_lines(path))):
            with pytest.raises(ValueError, match=f"{path} is a pipe or a device, not a file"):
                read(path)


@pytest.mark.parametrize("write", [check_writable, lambda path: write_whole(path, "text")])
def test_a_folder_and_a_folder_that_is_a_file_are_named(tmp_path, write):
    (tmp_path / "file").write_text("before")
    with pytest.raises(OSError, match=f"{tmp_path} is a folder"):
        write(tmp_path)
    with pytest.raises(OSError, match=r"file/deep/new\.txt cannot be written: .*file is not a folder"):
        write(tmp_path / "file" / "deep" / "new.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", ["same", "other spelling", "symbolic link", "hard link", "link to a folder"])
def test_an_output_that_is_an_input_is_refused(tmp_path, kind):
    source = write(tmp_path / "in.csv", "id,report\n")
    other = write(tmp_path / "other.csv", "")
    out = {
        "same": source,
        "other spelling": tmp_path / ".." / tmp_path.name / "in.csv",
        "link to a folder": tmp_path / "folder" / "in.csv",
    }.get(kind, tmp_path / "out.csv")
    if kind == "symbolic link":
        out.symlink_to(source)
    elif kind == "hard link":
        out.hardlink_to(source)
    elif kind == "link to a folder":
        out.parent.symlink_to(tmp_path)
    for check in (check_writable, lambda path, inputs: check_targets([None, path], True, inputs)):
        with pytest.raises(ValueError, match=r"\.csv is read by this command and would be replaced: name another file"):
            check(out, [None, tmp_path / "gone.csv", other, source])
        check(out, [None, tmp_path / "gone.csv", other])
    check_writable(tmp_path / "new.csv", [source])
    assert source.read_text() == "id,report\n"


def test_targets_that_exist_are_refused_unless_they_may_be_replaced(tmp_path):
    there = write(tmp_path / "there.csv", "before")
    check_targets([None, tmp_path / "deep" / "new.csv"], False)
    assert (tmp_path / "deep").is_dir()
    with pytest.raises(ValueError, match=rf"{there} exists already: choose another name, or give --overwrite"):
        check_targets([tmp_path / "new.csv", there], False)
    check_targets([there], True)
    with pytest.raises(OSError, match=f"{tmp_path} is a folder"):
        check_targets([tmp_path], True)
    assert there.read_text() == "before"


def test_only_stale_files_and_folders_are_removed(tmp_path):
    day_ago = (time.time() - 25 * 3600,) * 2
    (tmp_path / "old.part").write_bytes(b"x")
    (tmp_path / "new.part").write_bytes(b"x")
    for name in ("old", "growing"):
        (tmp_path / name / "images").mkdir(parents=True)
    for path in ("old.part", "old/images", "old", "growing"):
        os.utime(tmp_path / path, day_ago)
    remove_stale([*tmp_path.iterdir(), tmp_path / "missing"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["growing", "new.part"]


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


def test_a_repeated_key_is_an_error_on_request(tmp_path):
    path = tmp_path / "twice.json"
    path.write_text('{"a": {"b": 1, "b": 2}}')
    assert read_json(path) == {"a": {"b": 2}}
    with pytest.raises(ValueError, match=r"twice\.json.*'b'"):
        read_json(path, unique_keys=True)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_every_value_of_a_csv_stays_text(tmp_path):
    path = write(tmp_path / "t.csv", '\ufeffid,text\n007,NA\nnull,""\n\n1e5," spaced, and\nbroken "\nnan,größer 肺 ✓\n')
    assert read_csv(path, ("text",)) == [
        {"id": "007", "text": "NA"},
        {"id": "null", "text": ""},
        {"id": "1e5", "text": " spaced, and\nbroken "},
        {"id": "nan", "text": "größer 肺 ✓"},
    ]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_gzip_is_recognized_by_its_content(tmp_path, name):
    path = write(tmp_path / name, gzip.compress("\ufeffid,text\na,b\n".encode()))
    assert read_csv(path) == [{"id": "a", "text": "b"}]
    assert list(csv_lines(tmp_path / "named.csv", io.BytesIO(path.read_bytes()))) == [["id", "text"], ["a", "b"]]


def test_a_long_field_is_read_and_the_limit_of_the_csv_module_stays(tmp_path):
    before, long = csv.field_size_limit(), "lungs clear . " * 40_000
    assert read_csv(write(tmp_path / "t.csv", f"id,text\na,{long}\n"))[0]["text"] == long
    assert csv.field_size_limit() == before


def test_empty_lines_are_rows_only_if_there_is_one_column(tmp_path):
    assert [row["id"] for row in iter_csv(write(tmp_path / "t.csv", "id,text\na,b\n\nc,d\n\n"))] == ["a", "c"]
    assert [row["text"] for row in iter_csv(write(tmp_path / "t.csv", "text\na\n\nb\n"))] == ["a", "", "b"]


@pytest.mark.parametrize("mark", [";", "\t", "|", ","])
def test_the_first_row_names_the_separator(tmp_path, mark):
    path = write(tmp_path / "t.csv", f'id{mark}text{mark}n\na{mark}"x{mark}y, z; w"{mark}1\n')
    assert read_csv(path, ("id", "text")) == [{"id": "a", "text": f"x{mark}y, z; w", "n": "1"}]
    with pytest.raises(ValueError, match=r"row 3: the row is longer than the header \(4 fields, 3 columns\)"):
        read_csv(write(path, f"id{mark}text{mark}n\na{mark}b{mark}c\na{mark}b{mark}c{mark}d\n"))


def test_names_of_columns_may_differ_in_case_and_blanks(tmp_path):
    path = write(tmp_path / "t.csv", "ID , Text,Other\na,b,c\n")
    assert read_csv(path, ("id", "text")) == [{"id": "a", "text": "b", "Other": "c"}]
    assert read_csv(path) == [{"ID ": "a", " Text": "b", "Other": "c"}]
    assert read_csv(write(path, "id,ID\na,b\n"), ("id",)) == [{"id": "a", "ID": "b"}]
    with pytest.raises(ValueError, match="'id' more than once: rename or remove one"):
        read_csv(write(path, "Id,ID\na,b\n"), ("id",))


def test_rows_that_do_not_fit_are_told_from_those_that_do(tmp_path):
    path = write(tmp_path / "t.csv", "id,text\na,b\nc\n\nd,e,f\n")
    rows = dict(checked_rows(path))
    assert rows[2] == {"id": "a", "text": "b"}
    assert [number for number, row in rows.items() if isinstance(row, str)] == [3, 5]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", False), ("old/a.png", False), ("./a.png", False), ("a..png", False), ("._a.png", True),
        ("__MACOSX/x/a.png", True), (".ipynb_checkpoints/a.png", True), ("x/.hidden", True), ("@eaDir/a.png", True),
        ("Thumbs.db", True), ("thumbnails/a.png", True), ("DICOMDIR", True), ("thumb_of_hand.png", False),
    ],
)  # fmt: skip
def test_files_of_systems_and_editors_are_clutter(name, expected):
    assert is_clutter(name) == expected


def test_all_files_below_a_folder_are_walked_once(tmp_path):
    for name in ("b/2", "b/1", "a", ".git/x", "c/d/3"):
        write_whole(tmp_path / name, "")
    (tmp_path / "c/back").symlink_to(tmp_path)
    (tmp_path / "c/gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "e").symlink_to(tmp_path / "b")
    assert list(walk_files(tmp_path)) == [
        ("a", False), (".git/x", True), ("b/1", False), ("b/2", False), ("c/d/3", False), ("e/1", False), ("e/2", False)
    ]  # fmt: skip


def test_output_of_programs_is_read_as_utf8():  # what ruff's PLW1514 does not look at
    sources = list((Path(__file__).parents[2] / "src").rglob("*.py"))
    assert len(sources) > 100
    for path in sources:
        assert not re.search(r"\btext=True|universal_newlines=|FileHandler\(", path.read_text(encoding="utf-8")), path


def test_half_of_a_surrogate_pair_is_named():
    assert utf8_fault("größer 肺 ✓ 😀") is None
    assert (
        utf8_fault("small\ud800")
        == "cannot be written as UTF-8: it has half of a surrogate pair (U+D800) at character 6"
    )


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "no row"),
        ("id,text\n", "no row"),
        ("id,text\na,b\nc\n", "row 3.*shorter"),
        ("id,text\na,the heart, lungs\n", "row 2.*longer"),
        ("id,text,id\na,b,c\n", "'id'"),
        ("id,texts\na,b\n", "'text'.*id, texts"),
        ("id,text\na,größer\n".encode("latin-1"), "UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "UTF-8"),
        (b'id,text\na,"open\n', "not a CSV"),
        (gzip.compress(b"id,text\na,b\n" * 100, mtime=0)[:-9], "damaged"),
        (b"\x1f\x8b\x08", "damaged"),
        (None, "no file"),
    ],
)
def test_a_bad_csv_is_named(tmp_path, content, error):
    path = tmp_path / "bad.csv"
    if content is not None:
        write(path, content)
    with pytest.raises(ValueError, match=error) as caught:
        read_csv(path, ("id", "text") if content else ())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_csv(tmp_path):
    with pytest.raises(ValueError, match="folder"):
        read_csv(tmp_path)


def test_many_names_are_shortened():
    assert name_some(["a", "b"]) == "'a', 'b'"
    assert name_some("abcde") == "'a', 'b', 'c' and 2 more"
    assert first_lines(["a", "b"]) == ["a", "b"]
    assert first_lines(["n"] * 1025) == [*["n"] * 20, "and 1,005 more"]


def test_the_number_of_cores_is_that_of_this_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(3)), raising=False)
    assert num_cores() == 3


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


@pytest.mark.parametrize(
    "text",
    ["a: &a [x, x]\nb: [*a, *a]\n", "a: &a [*a]\n", "[" * 100_000, "- " * 100_000, "[" * 60 + "]" * 60, "? [a]\n: b\n"],
)
def test_yaml_that_refers_to_itself_or_is_nested_deeply_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"x\.yaml cannot be read: ") as caught:
        read_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)


def test_the_first_line_of_an_empty_message_is_the_class_of_the_error():
    assert first_line(AssertionError()) == "AssertionError"
    assert first_line(ValueError("\n\n  what\nwhere")) == "what"


@pytest.mark.parametrize("cell", ["=a", "-1", "'=a", "''@b", "'x", "it's", "", "\\t", "a=b"])
def test_a_cell_for_people_is_read_back(cell):
    assert from_text(as_text(cell)) == cell
    assert not as_text(cell).startswith(("=", "-", "+", "@"))

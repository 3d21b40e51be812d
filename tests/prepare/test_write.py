import csv
import json
import subprocess
import sys
import textwrap

import pytest

from r2cmn.prepare import write
from r2cmn.prepare.write import DataFolder, ManifestRow, OutputError, write_whole

OPTIONS = {"data": "test", "side": 64, "clip": (1, 99)}


def row(image, study="s"):
    return ManifestRow(study, image, "source.png", "", 2, 3, "0" * 64, "1" * 64, "invert; 8 bits")


def entry(*images):
    return {"train": [{"id": "s", "report": "r", "image_path": list(images), "split": "train"}], "val": [], "test": []}


def test_a_finished_folder_has_its_manifest_and_no_trace_of_the_work(tmp_path):
    folder = DataFolder(tmp_path / "out", OPTIONS)
    folder.add(row("s/1.png"), b"one")
    folder.add(row("s/0.png"), b"zero")
    folder.add(row("t/0.png", "t"), b"of a study that is left out")
    assert not (tmp_path / "out/annotation.json").exists()
    folder.finish(entry("s/0.png", "s/1.png"), {"dataset": "test"}, {"LICENSE.txt": "terms"})
    with (tmp_path / "out/manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["image"] for r in rows] == ["s/0.png", "s/1.png"]
    assert rows[0] == {"study": "s", "image": "s/0.png", "source": "source.png", "view": "", "width": "2",
                       "height": "3", "source_sha256": "0" * 64, "sha256": "1" * 64,
                       "steps": "invert; 8 bits"}  # fmt: skip
    assert json.loads((tmp_path / "out/annotation.json").read_text()) == entry("s/0.png", "s/1.png")
    record = json.loads((tmp_path / "out/prepare.json").read_text())
    assert record == {"dataset": "test", "options": {"data": "test", "side": 64, "clip": [1, 99]}}
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert not [name for name in names if name.startswith(".")]
    assert DataFolder(tmp_path / "out", OPTIONS).finished


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    folder = DataFolder(tmp_path / "out", OPTIONS)
    folder.add(row("s/0.png"), b"zero")
    folder.add(row("s/1.png"), b"one")
    with (tmp_path / "out" / write.JOURNAL).open("a") as file:
        file.write('{"study": "s", "image": "s/2.p')  # killed within a line
    (tmp_path / "out/images/s/1.png").unlink()  # and somebody tidied up
    again = DataFolder(tmp_path / "out", OPTIONS)
    assert again.rows == {"s/0.png": row("s/0.png")}
    again.add(row("s/1.png"), b"one")
    assert set(DataFolder(tmp_path / "out", OPTIONS).rows) == {"s/0.png", "s/1.png"}
    assert not again.finished


def test_what_was_left_out_may_be_tried_again(tmp_path):
    DataFolder(tmp_path / "out", OPTIONS).finish(entry(), {"left_out": {"s": "no image"}}, {})
    again = DataFolder(tmp_path / "out", OPTIONS)
    assert not again.finished
    again.finish(entry(), {"left_out": {}}, {})
    assert DataFolder(tmp_path / "out", OPTIONS).finished


@pytest.mark.parametrize("finished", [False, True])
def test_other_options_are_refused(tmp_path, finished):
    folder = DataFolder(tmp_path / "out", OPTIONS)
    if finished:
        folder.finish(entry(), {}, {})
    with pytest.raises(OutputError, match="was begun with side 64, not 32"):
        DataFolder(tmp_path / "out", {**OPTIONS, "side": 32})
    with pytest.raises(OutputError, match="was begun with more None, not 1"):
        DataFolder(tmp_path / "out", {**OPTIONS, "more": 1})


def test_a_folder_of_others_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"holds other files \(thesis.tex\)"):
        DataFolder(tmp_path, OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(OutputError, match="is a file: name a folder"):
        DataFolder(tmp_path / "thesis.tex", OPTIONS)


def test_a_damaged_record_is_one_sentence(tmp_path):
    DataFolder(tmp_path / "out", OPTIONS)
    (tmp_path / "out" / write.JOURNAL).write_text("{}")
    with pytest.raises(OutputError, match="is damaged: remove"):
        DataFolder(tmp_path / "out", OPTIONS)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_whole(path, b"old")
    monkeypatch.setattr(write.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


IN_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from r2cmn.prepare.write import DataFolder, OutputError
from tests_row import row
mount = Path(sys.argv[1])
def remount(options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)], check=True)
remount("size=128k")
folder = DataFolder(mount, {})
try:
    for number in range(100):
        folder.add(row(f"{number}/0.png"), b"x" * 9000)
    sys.exit("the disk was never full")
except OutputError as error:
    print(error)
assert not list(mount.rglob("*.part")), "half a file was left"
assert not (mount / "annotation.json").exists()
done = len(folder.rows)
assert all((mount / "images" / image).stat().st_size == 9000 for image in folder.rows)
subprocess.run(["mount", "-o", "remount,size=4m", str(mount)], check=True)
folder = DataFolder(mount, {})
assert abs(len(folder.rows) - done) <= 1, (len(folder.rows), done)
for number in range(20):
    folder.rows.get(f"{number}/0.png") or folder.add(row(f"{number}/0.png"), b"x" * 9000)
folder.finish({"train": [], "val": [], "test": []}, {}, {})
assert DataFolder(mount, {}).finished
subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
for dir in (mount, mount / "new"):
    try:
        DataFolder(dir, {} if dir == mount else {}).add(row("99/0.png"), b"x")
        sys.exit("a read-only disk was written")
    except OutputError as error:
        print(error)
"""


def test_a_full_disk_and_a_read_only_one(tmp_path):
    mount = tmp_path / "mount"
    mount.mkdir()
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(mount)]
    try:
        subprocess.run(probe, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine lets nobody mount a small disk: {error}")
    source = "from r2cmn.prepare.write import ManifestRow\n" + textwrap.dedent(
        """
        def row(image, study="s"):
            return ManifestRow(study, image, "source.png", "", 2, 3, "0" * 64, "1" * 64, "")
        """
    )
    (tmp_path / "tests_row.py").write_text(source)
    (tmp_path / "small_disk.py").write_text(IN_A_SMALL_DISK)
    command = ["unshare", "-rm", sys.executable, str(tmp_path / "small_disk.py"), str(mount)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    full, read_only, new = done.stdout.splitlines()
    assert "is full after" in full
    assert "goes on from there" in full
    assert "cannot be written (Read-only file system)" in read_only
    assert "cannot be written (Read-only file system)" in new

import csv
import errno
import json
import subprocess
import sys

import pytest

from r2cmn.prepare import folder as module
from r2cmn.prepare.folder import DataFolder, ManifestRow, OutputError

OPTIONS = {"data": "test", "side": 64, "clip": (1, 99)}
EMPTY = {"train": [], "val": [], "test": []}


def row(image, study="s"):
    return ManifestRow(study, image, "source.png", "", 2, 3, "0" * 64, "1" * 64, "invert; 8 bits")


def test_a_finished_folder_has_its_manifest_and_no_trace_of_the_work(tmp_path):
    folder = DataFolder(tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out/annotation.json").exists()
    annotation = {**EMPTY, "train": [{"id": "s", "report": "r", "image_path": ["s/0.png", "s/1.png"]}]}
    folder.finish(annotation, [row("s/0.png"), row("s/1.png")], {"dataset": "test"}, {"LICENSE.txt": "terms"})
    with (tmp_path / "out/manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["image"] for r in rows] == ["s/0.png", "s/1.png"]
    assert rows[0] == {"study": "s", "image": "s/0.png", "source": "source.png", "view": "", "width": "2",
                       "height": "3", "source_sha256": "0" * 64, "sha256": "1" * 64,
                       "steps": "invert; 8 bits"}  # fmt: skip
    assert json.loads((tmp_path / "out/annotation.json").read_text()) == annotation
    record = json.loads((tmp_path / "out/prepare.json").read_text())
    assert record == {"dataset": "test", "options": {"data": "test", "side": 64, "clip": [1, 99]}}
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert names == {"images", "manifest.csv", "prepare.json", "LICENSE.txt", "annotation.json"}
    assert DataFolder(tmp_path / "out", OPTIONS).is_finished


def test_what_was_left_out_may_be_tried_again(tmp_path):
    DataFolder(tmp_path / "out", OPTIONS).finish(EMPTY, [], {"left_out": {"s": "no image"}}, {})
    again = DataFolder(tmp_path / "out", OPTIONS)
    assert not again.is_finished
    again.finish(EMPTY, [], {"left_out": {}}, {})
    assert DataFolder(tmp_path / "out", OPTIONS).is_finished


@pytest.mark.parametrize("finished", [False, True])
def test_other_options_are_refused(tmp_path, finished):
    folder = DataFolder(tmp_path / "out", OPTIONS)
    if finished:
        folder.finish(EMPTY, [], {}, {})
    with pytest.raises(OutputError, match="was begun with side 64, not 32"):
        DataFolder(tmp_path / "out", {**OPTIONS, "side": 32})
    with pytest.raises(OutputError, match="was begun with more None, not 1"):
        DataFolder(tmp_path / "out", {**OPTIONS, "more": 1})
    with pytest.raises(OutputError, match="was begun with side 64, not None"):
        DataFolder(tmp_path / "out", {"data": "test", "clip": (1, 99)})


@pytest.mark.parametrize("state", ["kept", "removed"])
def test_images_may_be_reused_with_other_options_of_the_annotation(tmp_path, state):
    DataFolder(tmp_path / "out", {"target": "a", "side": 64}, image_options=("side",)).finish(EMPTY, [], {}, {})
    assert (tmp_path / "out/.prepare").is_dir()  # for the next annotation
    if state == "removed":
        (tmp_path / "out/.prepare/options.json").unlink()
        (tmp_path / "out/.prepare").rmdir()
    with pytest.raises(OutputError, match="was begun with side 64, not 32"):
        DataFolder(tmp_path / "out", {"target": "b", "side": 32}, image_options=("side",))
    DataFolder(tmp_path / "out", {"target": "b", "side": 64}, image_options=("side",)).finish(EMPTY, [], {}, {})
    assert json.loads((tmp_path / "out/prepare.json").read_text())["options"] == {"target": "b", "side": 64}


def test_a_folder_of_others_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"holds other files \(thesis.tex\)"):
        DataFolder(tmp_path, OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(OutputError, match="is a file"):
        DataFolder(tmp_path / "thesis.tex", OPTIONS)


@pytest.mark.parametrize("content", ["", "{", "[1]", "7"])
def test_a_damaged_record_is_one_sentence(tmp_path, content):
    folder = DataFolder(tmp_path / "out", OPTIONS)
    (folder.state / "options.json").write_text(content)
    with pytest.raises(OutputError, match=r"options\.json is damaged"):
        DataFolder(tmp_path / "out", OPTIONS)


def test_a_folder_that_was_barely_begun_is_begun_again(tmp_path):
    folder = DataFolder(tmp_path / "out", OPTIONS)
    (folder.state / "options.json").unlink()  # killed before it was written
    assert not DataFolder(tmp_path / "out", {**OPTIONS, "side": 1}).is_finished


def test_a_private_folder_is_for_its_owner_only(tmp_path):
    (tmp_path / "out").mkdir(mode=0o755)
    DataFolder(tmp_path / "out", OPTIONS, private=True).finish(EMPTY, [], {"left_out": {"a": "b"}}, {"LICENSE.txt": ""})
    paths = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space"), r"the disk of \S+ is full after 3 images: "),
        (OSError(errno.EDQUOT, "Quota"), r"the disk of \S+ is full after 3 images: "),
        (OSError(errno.EROFS, "Read-only file system"), r"cannot be written \(Read-only file system\): "),
        (OutputError("as it is"), "as it is"),
    ],
)
def test_what_stops_a_run_is_one_sentence(tmp_path, error, sentence):
    folder = DataFolder(tmp_path / "out", OPTIONS)
    with pytest.raises(OutputError, match=sentence) as caught, folder.explained([1, 2, 3]):
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["LICENSE.txt", "manifest.csv", "prepare.json", "annotation.json"])
def test_a_disk_that_is_full_at_the_end(tmp_path, monkeypatch, name):
    folder = DataFolder(tmp_path / "out", OPTIONS)
    write_whole = module.write_whole

    def write(path, *content):
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_whole(path, *content)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_whole", write)
        with pytest.raises(OutputError, match="is full"):
            folder.finish(EMPTY, [], {}, {"LICENSE.txt": "terms"})
    assert not (tmp_path / "out/annotation.json").exists()
    again = DataFolder(tmp_path / "out", OPTIONS)
    assert not again.is_finished
    again.finish(EMPTY, [], {}, {"LICENSE.txt": "terms"})
    assert DataFolder(tmp_path / "out", OPTIONS).is_finished


IN_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from r2cmn.prepare.archives import RawFile
from r2cmn.prepare.convert import Picture, convert
from r2cmn.prepare.folder import DataFolder, OutputError
from r2cmn.prepare.images import Rendered

mount = Path(sys.argv[1])
pictures = [Picture("s", f"{n}/0.png", RawFile(str(n), lambda: b"")) for n in range(100)]

def run(folder, number=100):
    return convert(folder, pictures[:number], lambda *_: Rendered(b"x" * 9000, 2, 3, "", ""), number, 1).rows

subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(mount)], check=True)
try:
    run(DataFolder(mount, {}))
    sys.exit("the disk was never full")
except OutputError as error:
    print(error)
assert not list(mount.rglob("writing-*")), "a partial file was left"
assert not (mount / "annotation.json").exists()
images = list((mount / "images").rglob("*.png"))
assert images and all(path.stat().st_size == 9000 for path in images)
subprocess.run(["mount", "-o", "remount,size=4m", str(mount)], check=True)
folder = DataFolder(mount, {})
rows = run(folder, 20)
folder.finish({"train": [], "val": [], "test": []}, list(rows.values()), {}, {})
assert DataFolder(mount, {}).is_finished
subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
for dir, options in ((mount / "new", {}), (mount / "images", {})):
    try:
        run(DataFolder(dir, options))
        sys.exit("a read-only disk was written")
    except OutputError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_full_disk_and_a_read_only_one(tmp_path):
    mount = tmp_path / "mount"
    mount.mkdir()
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(mount)]
    try:
        subprocess.run(probe, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine lets nobody mount a small disk: {error}")
    (tmp_path / "small_disk.py").write_text(IN_A_SMALL_DISK)
    command = ["unshare", "-rm", sys.executable, str(tmp_path / "small_disk.py"), str(mount)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    full, new, _ = done.stdout.splitlines()
    assert "is full after" in full
    assert "cannot be written (Read-only file system)" in new

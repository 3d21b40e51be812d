import errno
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from r2cmn.prepare import journal
from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.convert import Picture, convert
from r2cmn.prepare.folder import DataFolder, OutputError
from r2cmn.prepare.images import Rendering, render


def png(number, size=20):
    file = io.BytesIO()
    Image.fromarray(np.full((size, size), number % 256, dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def archived(number, read=png):
    """Pictures of an archive, in which only this thread can read."""
    return [Picture(f"s{n}", f"s{n}/0.png", RawFile(f"raw/{n}.png", lambda n=n: read(n)), "frontal")
            for n in range(number)]  # fmt: skip


def on_disk(raw, number):
    """Pictures of a folder, drawn there if they are missing."""
    raw.mkdir(exist_ok=True)
    pictures = []
    for n in range(number):
        path = raw / f"{n}.png"
        if not path.exists():
            path.write_bytes(png(n))
        pictures.append(Picture(f"s{n}", f"s{n}/0.png", RawFile(path.name, path.read_bytes, path)))
    return pictures


def run(folder, pictures, rendering=None, **options):
    rendering = rendering or Rendering(side=8)
    return convert(folder, iter(pictures), lambda *source: render(*source, rendering), len(pictures), **options)


def inodes(folder):
    return {path.parent.name: path.stat().st_ino for path in folder.images.rglob("*.png")}


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path / "out", {})


def test_all_images_arrive_under_their_names(folder):
    done = run(folder, archived(25))
    assert (len(done.rows), done.faults) == (25, {})
    for number in range(25):
        image = np.asarray(Image.open(folder.images / f"s{number}/0.png"))
        assert image.shape == (8, 8)
        assert (image == number).all()
        row = done.rows[f"s{number}/0.png"]
        assert (row.study, row.source, row.view, row.width) == (f"s{number}", f"raw/{number}.png", "frontal", 8)
        assert row.steps == "20 x 20 to 8 x 8"
    assert not list(folder.state.glob("writing-*"))


def test_images_are_converted_in_parallel_and_few_wait(folder, monkeypatch):
    together = threading.Barrier(2, timeout=20)
    running, most = [0], [0]

    def rendered_together(*source):
        together.wait()  # raises if a second thread never comes
        return render(*source, Rendering())

    def read(number):
        running[0] += 1
        most[0] = max(most[0], running[0])
        return png(number)

    add = journal.Journal.add

    def count(self, *given):
        running[0] -= 1
        add(self, *given)

    monkeypatch.setattr(journal.Journal, "add", count)
    assert convert(folder, archived(20, read), rendered_together, 20, num_workers=2).faults == {}
    assert most[0] <= 7


def test_finished_images_are_neither_read_nor_converted_again(folder, tmp_path):
    assert len(run(folder, on_disk(tmp_path / "raw", 6)).rows) == 6
    first = inodes(folder)
    done = run(folder, on_disk(tmp_path / "raw", 9))
    assert len(done.rows) == 9
    assert {name: inodes(folder)[name] for name in first} == first
    other = DataFolder(tmp_path / "archive", {})
    rows = run(other, archived(9)).rows
    read = []
    assert run(other, archived(9, lambda n: read.append(n))).rows == rows
    assert read == []


@pytest.mark.parametrize("private", [False, True])
def test_modes(tmp_path, private):
    before = os.umask(0)
    try:
        folder = DataFolder(tmp_path / "a" / "out", {}, private=private)
        run(folder, archived(2))
    finally:
        os.umask(before)
    paths = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600 if private else 0o644}
    assert all((path.stat().st_mode & 0o777 == 0o700) == private for path in paths if path.is_dir())


def test_a_change_of_source_or_result_is_seen(folder, tmp_path):
    pictures = on_disk(tmp_path / "raw", 4)
    run(folder, pictures)
    before = inodes(folder)
    os.utime(pictures[0].file.path, (5, 5))
    (folder.images / "s1/0.png").unlink()
    (folder.images / "s2/0.png").write_bytes(b"short")
    assert len(run(folder, pictures).rows) == 4
    changed = {name for name, inode in inodes(folder).items() if inode != before[name]}
    assert changed | {"s1"} == {"s0", "s1", "s2"}
    assert (folder.images / "s1/0.png").is_file()


def test_a_bad_image_does_not_stop_the_others_and_is_tried_again(folder, tmp_path):
    pictures = on_disk(tmp_path / "raw", 6)
    pictures[1].file.path.write_bytes(b"")
    pictures[2].file.path.unlink()
    pictures[2].file.path.mkdir()
    pictures[3].file.path.unlink()
    done = run(folder, pictures)
    assert set(done.rows) == {f"s{n}/0.png" for n in (0, 4, 5)}
    assert done.faults == {
        "s1/0.png": "1.png is empty",
        "s2/0.png": "2.png cannot be read whole: Is a directory",
        "s3/0.png": "there is no image at 3.png",
    }
    before = inodes(folder)
    pictures[1].file.path.write_bytes(png(1))
    done = run(folder, pictures)
    assert set(done.faults) == {"s2/0.png", "s3/0.png"}
    assert {name: inodes(folder)[name] for name in before} == before


def test_a_damaged_archive_keeps_the_images_before_that_place(folder):
    def read(number):
        if number == 5:
            raise RawError("cut short")
        return png(number)

    with pytest.raises(RawError, match="cut short"):
        run(folder, archived(9, read))
    assert set(inodes(folder)) == {f"s{n}" for n in range(5)}
    read = []
    run(folder, archived(9, lambda n: read.append(n) or png(n)))
    assert sorted(read) == [5, 6, 7, 8]


def test_an_interrupted_run_is_resumed(folder):
    def stop(number):
        if number == 5:
            raise KeyboardInterrupt
        return png(number)

    with pytest.raises(KeyboardInterrupt):
        run(folder, archived(9, stop))
    before = set(inodes(folder))
    read = []
    assert len(run(folder, archived(9, lambda n: read.append(n) or png(n))).rows) == 9
    assert {f"s{n}" for n in read} == {f"s{n}" for n in range(9)} - before


def test_two_runs_at_once_do_not_disturb_each_other(folder, tmp_path):
    pictures = on_disk(tmp_path / "raw", 40)
    halves = [pictures[0::2], pictures]  # the second converts the images of the first, too
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda half: run(folder, half, num_workers=2), halves))
    assert [done.faults for done in runs] == [{}, {}]
    before = inodes(folder)
    assert len(run(folder, pictures).rows) == 40
    assert inodes(folder) == before


def test_links_lead_to_the_original(folder, tmp_path):
    pictures = on_disk(tmp_path / "raw", 2)
    run(folder, pictures, Rendering("link", side=0))
    assert (folder.images / "s1/0.png").resolve() == pictures[1].file.path
    pictures[0].file.path.write_bytes(png(7, size=30))  # of another size: the link is made again
    done = run(folder, pictures, Rendering("link", side=0))
    assert done.rows["s0/0.png"].width == 30


def test_workers(folder):
    with pytest.raises(ValueError, match="--workers is 0"):
        run(folder, [], num_workers=0)


# ---- the journal -----------------------------------------------------------------------------------------------------


def test_a_torn_line_costs_one_image_only(folder):
    expected = run(folder, archived(3), num_workers=1).rows
    path = folder.state / "done.jsonl"
    assert {name: known.row for name, known in journal._read_journal(path).items()} == expected
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        assert set(journal._read_journal(path)) == {"s0/0.png", "s1/0.png"}
    path.write_bytes(whole[:-5] + b'\n[1, 2]\n"x"\n[1, 2, 3, "x"]\n\xff\n\n')
    assert set(journal._read_journal(path)) == {"s0/0.png", "s1/0.png"}
    os.truncate(path, len(whole) - 5)  # as a disk that was full for a moment leaves it
    run(folder, archived(4))
    assert set(journal._read_journal(path)) == {f"s{n}/0.png" for n in range(4)}


def test_the_last_record_of_an_image_counts(folder, tmp_path):
    pictures = on_disk(tmp_path / "raw", 1)
    run(folder, pictures)
    pictures[0].file.path.write_bytes(png(9, size=30))
    done = run(folder, pictures)
    assert len((folder.state / "done.jsonl").read_text().split()) > 1
    assert {name: known.row for name, known in journal._read_journal(folder.state / "done.jsonl").items()} == done.rows
    assert done.rows["s0/0.png"].steps == "30 x 30 to 8 x 8"


def test_what_killed_runs_left_is_removed_but_not_what_others_write(folder):
    host = socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"writing-{host}-{dead.pid}-x", f"writing-{host}-{os.getpid()}-x", "writing-elsewhere-1-x"):
        (folder.state / name).mkdir()
    run(folder, archived(1))
    assert {path.name for path in folder.state.glob("writing-*")} == {f"writing-{host}-{os.getpid()}-x",
                                                                      "writing-elsewhere-1-x"}  # fmt: skip


def test_a_disk_that_fills_up_is_one_sentence(folder, monkeypatch):
    write = os.write

    def full(handle, content):
        if b"s3/0.png" in content:
            write(handle, content[:9])
            monkeypatch.setattr(journal.os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
            return 9
        return write(handle, content)

    monkeypatch.setattr(journal.os, "write", full)
    with pytest.raises(OutputError, match="is full after 3 images"):
        run(folder, archived(6), num_workers=1)
    monkeypatch.undo()
    read = []
    run(folder, archived(6, lambda n: read.append(n) or png(n)), num_workers=1)
    assert read == [3, 4, 5]


# ---- kills and full disks --------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys, time
from pathlib import Path
from r2cmn.prepare.archives import RawFile
from r2cmn.prepare.convert import Picture, convert
from r2cmn.prepare.folder import DataFolder
from r2cmn.prepare.images import Rendered

def slow(name, content):
    time.sleep(0.02)
    with open(os.environ["SEEN"], "a") as file:
        file.write(name + "\\n")
    return Rendered(content * int(os.environ.get("TIMES", 1)), 1, 1, "", "")

raw, out = Path(sys.argv[1]), Path(sys.argv[2])
pictures = [Picture("", path.name, RawFile(path.name, path.read_bytes, path)) for path in sorted(raw.iterdir())]
try:
    done = convert(DataFolder(out, {}), pictures, slow, len(pictures), 2)
except KeyboardInterrupt:
    sys.exit(130)
except OSError as error:
    sys.exit(str(error))
print(len(done.rows), len(done.faults))
"""


@pytest.fixture
def start(tmp_path):
    """Start the script above on 200 files: `start(out, **environment)`."""
    (tmp_path / "raw").mkdir()
    for i in range(200):
        (tmp_path / "raw" / f"{i:03}.txt").write_bytes(b"%03d " % i * 250)
    (tmp_path / "slow.py").write_text(SCRIPT)

    def start(out, **environment):
        return subprocess.Popen(
            [sys.executable, str(tmp_path / "slow.py"), str(tmp_path / "raw"), str(out)], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "SEEN": str(tmp_path / "seen"), **environment},
            start_new_session=True,
        )  # fmt: skip

    return start


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def num_seen(tmp_path):
    return len((tmp_path / "seen").read_text().splitlines()) if (tmp_path / "seen").exists() else 0


@pytest.mark.slow
def test_after_a_kill_no_finished_file_is_converted_again(start, tmp_path):
    out = tmp_path / "out"
    moments = (30, 60, 100)
    for at in moments:
        process = start(out)
        wait_for(lambda at=at: num_seen(tmp_path) >= at)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    output, error = start(out).communicate(timeout=60)
    assert output.split() == ["200", "0"], error
    assert num_seen(tmp_path) <= 200 + 2 * len(moments)  # the file at hand of each of two threads
    for path in (tmp_path / "raw").iterdir():
        assert (out / "images" / path.name).read_bytes() == path.read_bytes()
    assert not [path for path in out.rglob("*") if path.name.startswith("writing-")]


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_without_a_traceback(start, tmp_path):
    out = tmp_path / "out"
    process = start(out)
    wait_for(lambda: num_seen(tmp_path) >= 20)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (output, error) == ("", "")
    assert not list((out / ".prepare").glob("writing-*"))
    output, _ = start(out).communicate(timeout=60)
    assert output.split() == ["200", "0"]
    assert num_seen(tmp_path) == 200  # no file was converted twice


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of a given size: `small_disk("300k")`, and resize it: `small_disk("8m", remount=True)`."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(size, remount=False):
        options = ["-o", f"remount,size={size}"] if remount else ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
        mounted = subprocess.run(["mount", *options, str(disk)], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
        return disk

    yield mount
    subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False)


@pytest.mark.slow
def test_a_full_disk_in_the_middle_and_resuming(start, tmp_path, small_disk):
    out = small_disk("400k") / "out"
    _, error = start(out, TIMES="4").communicate(timeout=60)
    assert "disk of" in error
    assert "is full after" in error
    assert "Traceback" not in error
    for path in (out / "images").iterdir():
        assert len(path.read_bytes()) == 4_000, "a partial file"
    num_whole = len(list((out / "images").iterdir()))
    assert 0 < num_whole < 200
    before = num_seen(tmp_path)
    small_disk("8m", remount=True)
    output, error = start(out, TIMES="4").communicate(timeout=60)
    assert output.split() == ["200", "0"], error
    # converted again: files whose line in the journal did not fit
    assert 200 - (num_seen(tmp_path) - before) >= num_whole - 5


@pytest.mark.slow
def test_a_disk_that_can_only_be_read(start, tmp_path, small_disk):
    disk = small_disk("1m")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    _, error = start(disk / "out").communicate(timeout=60)
    assert "cannot be written (Read-only file system)" in error
    assert "Traceback" not in error

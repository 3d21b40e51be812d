import errno
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from r2cmn.prepare import parallel
from r2cmn.prepare.jpeg import GrayscaleJPEG
from r2cmn.prepare.parallel import STATE, Task, convert_files, explained, num_cores
from r2cmn.prepare.write import OutputError


def draw(folder, number):
    folder.mkdir(exist_ok=True)
    tasks = []
    for i in range(number):
        source = folder / f"{i}.jpg"
        Image.fromarray(np.full((20, 30), i % 256, np.uint8)).save(source)
        tasks.append(Task(source, f"images/p{i % 3}/{i}.jpg"))
    return tasks


def inodes(out):
    return {path.relative_to(out).as_posix(): path.stat().st_ino for path in (out / "images").rglob("*.jpg")}


def test_all_files_are_converted_in_parallel_and_none_twice(tmp_path):
    tasks, out = draw(tmp_path / "raw", 50), tmp_path / "out"
    done = convert_files(tasks[:20], GrayscaleJPEG(10), out, num_workers=2)
    assert (len(done.facts), done.num_before, done.bad) == (20, 0, {})
    first = inodes(out)
    done = convert_files(tasks, GrayscaleJPEG(10), out, num_workers=2)
    assert (set(done.facts), done.num_before, done.bad) == ({task.target for task in tasks}, 20, {})
    assert {name: inodes(out)[name] for name in first} == first
    for task in tasks:
        assert (out / task.target).read_bytes() == GrayscaleJPEG(10)(task.source).content
        assert done.facts[task.target] == GrayscaleJPEG(10)(task.source).facts
    assert not list((out / STATE).glob("writing-*"))


def test_a_change_of_source_setting_or_result_is_seen(tmp_path):
    tasks, out = draw(tmp_path / "raw", 4), tmp_path / "out"
    convert_files(tasks, GrayscaleJPEG(10), out, 1)
    os.utime(tasks[0].source, (5, 5))
    (out / tasks[1].target).unlink()
    (out / tasks[2].target).write_bytes(b"short")
    done = convert_files(tasks, GrayscaleJPEG(10), out, 1)
    assert done.num_before == 1
    assert len(done.facts) == 4
    assert convert_files(tasks, GrayscaleJPEG(12), out, 1).num_before == 0


def test_bad_files_are_named_and_tried_again_next_time(tmp_path):
    tasks, out = draw(tmp_path / "raw", 6), tmp_path / "out"
    tasks[1].source.write_bytes(b"")
    tasks[2].source.unlink()
    tasks[2].source.mkdir()
    tasks[3].source.unlink()
    done = convert_files(tasks, GrayscaleJPEG(10), out, 1)
    assert set(done.bad) == {tasks[i].target for i in (1, 2, 3)}
    assert done.bad[tasks[1].target] == f"{tasks[1].source} is empty"
    assert done.bad[tasks[2].target] == f"{tasks[2].source} cannot be read: Is a directory"
    assert done.bad[tasks[3].target] == f"there is no image at {tasks[3].source}"
    assert set(done.facts) == {tasks[i].target for i in (0, 4, 5)}
    draw(tmp_path / "raw2", 6)
    tasks[1].source.write_bytes((tmp_path / "raw2" / "1.jpg").read_bytes())
    done = convert_files(tasks, GrayscaleJPEG(10), out, 1)
    assert set(done.bad) == {tasks[i].target for i in (2, 3)}
    assert done.num_before == 3


def test_two_runs_at_once_do_not_meet(tmp_path):
    tasks, out = draw(tmp_path / "raw", 40), tmp_path / "out"
    halves = [tasks[0::2], tasks]  # the second does what the first does, too
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda half: convert_files(half, GrayscaleJPEG(10), out, 2), halves))
    assert [run.bad for run in runs] == [{}, {}]
    assert convert_files(tasks, GrayscaleJPEG(10), out, 1).num_before == 40


def test_workers():
    assert num_cores() >= 1
    with pytest.raises(ValueError, match="--workers is 0: at least 1"):
        convert_files([], GrayscaleJPEG(10), Path("/nowhere"), 0)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space"), r"the disk of /out is full after 3 images: make room and give the same"),
        (OSError(errno.EDQUOT, "Quota"), r"the disk of /out is full"),
        (
            OSError(errno.EROFS, "Read-only file system"),
            r"/out cannot be written \(Read-only file system\): name another",
        ),
        (parallel.BrokenProcessPool(), r"was killed, perhaps for lack of memory after 3 images: .*fewer --workers"),
    ],
)
def test_what_stops_a_run_is_one_sentence(error, sentence):
    with pytest.raises(OutputError, match=sentence), explained(Path("/out"), [1, 2, 3]):
        raise error


def test_no_torch_in_the_processes_that_convert():
    code = "import sys, r2cmn.prepare.jpeg; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- kills and full disks --------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys, time
from pathlib import Path
from r2cmn.prepare.parallel import Result, Task, convert_files

class Slow:
    def __repr__(self):
        return "Slow()"
    def __call__(self, source):
        time.sleep(0.02)
        with open(os.environ["SEEN"], "a") as file:
            file.write(source.name + "\\n")
        return Result(source.read_bytes() * int(os.environ.get("TIMES", 1)), [source.name])

if __name__ == "__main__":
    raw, out = Path(sys.argv[1]), Path(sys.argv[2])
    tasks = [Task(path, f"images/{path.name}") for path in sorted(raw.iterdir())]
    try:
        done = convert_files(tasks, Slow(), out, 2)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(str(error))
    print(done.num_before, len(done.facts), len(done.bad))
"""


@pytest.fixture
def run(tmp_path):
    """Start the script above on 200 files: `run(out, **environment)`."""
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
def test_after_a_kill_no_finished_file_is_converted_again(run, tmp_path):
    out = tmp_path / "out"
    killed = 0
    for at in (30, 60, 100):
        process = run(out)
        wait_for(lambda at=at: num_seen(tmp_path) >= at)
        os.kill(process.pid, signal.SIGKILL)  # the parent alone: its processes have to end themselves
        process.wait()
        killed += 1
        time.sleep(0.5)
        before = num_seen(tmp_path)
        time.sleep(0.3)
        assert num_seen(tmp_path) == before, "a process outlived the one that started it"
    process = run(out)
    output, error = process.communicate(timeout=60)
    num_before, num_now, num_bad = map(int, output.split())
    assert (num_now, num_bad) == (200, 0), error
    assert num_before >= 100 - 2 * killed
    assert num_seen(tmp_path) <= 200 + 2 * killed  # of each of two processes, the file at hand
    for path in (tmp_path / "raw").iterdir():
        assert (out / "images" / path.name).read_bytes() == path.read_bytes()
    assert not [path for path in out.rglob("*") if path.name.startswith("writing-")]


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_without_a_traceback(run, tmp_path):
    out = tmp_path / "out"
    process = run(out)
    wait_for(lambda: num_seen(tmp_path) >= 20)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    output, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - start < 5
    assert (output, error) == ("", "")
    assert not list((out / STATE).glob("writing-*"))
    seen = num_seen(tmp_path)
    output, _ = run(out).communicate(timeout=60)
    assert output.split() == [str(seen), "200", "0"]
    assert num_seen(tmp_path) == 200


@pytest.mark.slow
def test_a_killed_process_is_one_sentence(run, tmp_path):
    process = run(tmp_path / "out")
    wait_for(lambda: num_seen(tmp_path) >= 20)
    names = [path.name for path in (tmp_path / "out" / STATE).glob("done-*")]
    os.kill(int(names[0].split("-")[-2]), signal.SIGKILL)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "a process that converts images was killed, perhaps for lack of memory" in error
    assert "Traceback" not in error


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
def test_a_full_disk_in_the_middle_and_going_on(run, tmp_path, small_disk):
    out = small_disk("400k") / "out"
    _, error = run(out, TIMES="4").communicate(timeout=60)
    assert "disk of" in error
    assert "is full after" in error
    assert "Traceback" not in error
    for path in (out / "images").iterdir():
        assert len(path.read_bytes()) == 4_000, "half a file"
    num_whole = len(list((out / "images").iterdir()))
    assert 0 < num_whole < 200
    small_disk("8m", remount=True)
    output, error = run(out, TIMES="4").communicate(timeout=60)
    assert output.split()[1:] == ["200", "0"], error
    # converted again: files whose line in the journal did not fit, one at most of each chunk in the pool's hands
    assert int(output.split()[0]) >= num_whole - 5


@pytest.mark.slow
def test_a_disk_that_can_only_be_read(run, tmp_path, small_disk):
    disk = small_disk("1m")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    _, error = run(disk / "out").communicate(timeout=60)
    assert "cannot be written (Read-only file system): name another folder" in error
    assert "Traceback" not in error


def test_ctrl_c_is_left_alone_outside_the_main_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(parallel._ctrl_c_ignored().__enter__()))
    thread.start()
    thread.join()
    assert seen == [None]

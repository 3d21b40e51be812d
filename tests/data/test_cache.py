"""Cache of tensors: files are written whole, shared by processes and never mixed up."""

import errno
import multiprocessing
import os
import pickle
import signal
import stat
import time
from collections import namedtuple

import pytest
import torch

from r2cmn.data import cache as cache_module
from r2cmn.data.cache import RowCache

DIGESTS = [bytes([number]) * 4 for number in range(11)]
ROWS = [torch.arange(number % 4 + 1, dtype=torch.uint8).view(1, -1) + number for number in range(11)]


def make(positions):
    return [ROWS[position] for position in positions]


def never(positions):
    raise AssertionError(f"rows {list(positions)} were made again")


def equal(cache):
    return all(torch.equal(cache[position], row) for position, row in enumerate(ROWS))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_rows_of_any_shape_and_type_are_stored(tmp_path, dtype):
    rows = [torch.randint(0, 200, shape).to(dtype) for shape in ((1, 3, 5), (3, 2, 2), (1, 1, 1))]
    for folder in (None, tmp_path, tmp_path):
        cache = RowCache(folder, "s", [b"0", b"1", b"2"], 3)
        cache.fill(lambda _: rows, "making")
        assert [cache[number].dtype for number in range(3)] == [dtype] * 3
        assert all(torch.equal(cache[number], row) for number, row in enumerate(rows))
    (file,) = tmp_path.glob("*.rows")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == [tmp_path / ".lock", file]


def test_rows_in_memory_and_on_disk_equal_those_made(tmp_path):
    for folder in (None, tmp_path / "deep" / "cache"):
        cache = RowCache(folder, "s", DIGESTS, 4)
        cache.fill(make, "making")
        assert len(cache) == 11
        assert equal(cache)
        assert equal(pickle.loads(pickle.dumps(cache)))
    assert len(list((tmp_path / "deep" / "cache").glob("*.rows"))) == 3


def test_only_missing_and_changed_rows_are_made(tmp_path):
    RowCache(tmp_path, "s", DIGESTS, 4).fill(make, "making")
    again = RowCache(tmp_path, "s", DIGESTS, 4)
    again.fill(never, "making")
    assert equal(again)
    made = []

    def note(positions):
        made.extend(positions)
        return make(positions)

    changed = [*DIGESTS[:5], b"changed", *DIGESTS[6:]]
    RowCache(tmp_path, "s", changed, 4).fill(note, "making")
    assert made == [4, 5, 6, 7]
    made.clear()
    RowCache(tmp_path, "other", DIGESTS, 4).fill(note, "making")
    assert made == list(range(11))


def test_a_missing_row_raises_key_error(tmp_path):
    for folder in (None, tmp_path / "nowhere"):
        with pytest.raises(KeyError):
            RowCache(folder, "s", DIGESTS, 4)[5]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_a_damaged_file_is_made_again(tmp_path, content, caplog):
    RowCache(tmp_path, "s", DIGESTS, 11).fill(make, "making")
    path = next(tmp_path.glob("*.rows"))
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    damaged = RowCache(tmp_path, "s", DIGESTS, 11)
    with pytest.raises(KeyError):
        damaged[0]
    damaged.fill(make, "making")
    assert equal(damaged)
    (line,) = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert str(path) in line


def test_a_file_with_one_flipped_bit_is_made_again(tmp_path, caplog):
    rows = [torch.randn(40, generator=torch.Generator().manual_seed(number)).half() for number in range(4)]
    RowCache(tmp_path, "s", DIGESTS[:4], 4).fill(lambda _: rows, "making")
    path = next(tmp_path.glob("*.rows"))
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):  # values, headers, the directory and the checksum itself
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        caplog.clear()
        cache, made = RowCache(tmp_path, "s", DIGESTS[:4], 4), []
        cache.fill(lambda positions, made=made: made.append(positions) or rows, "making")
        assert len(made) == 1, place
        assert all(torch.equal(cache[number], row) for number, row in enumerate(rows))
        assert sum("is damaged and is made again" in record.getMessage() for record in caplog.records) == 1
    assert path.read_bytes() == whole
    caplog.clear()
    RowCache(tmp_path, "s", DIGESTS[:4], 4).fill(never, "making")
    assert caplog.records == []


def test_a_file_is_verified_once_by_a_process(tmp_path, monkeypatch):
    RowCache(tmp_path, "s", DIGESTS, 4).fill(make, "making")
    verified = []
    monkeypatch.setattr(cache_module, "find_damage", lambda path: verified.append(path))
    cache = RowCache(tmp_path, "s", DIGESTS, 4)
    for _ in range(2):
        cache.fill(never, "making")
        assert equal(cache)
    assert len(verified) == len(set(verified)) == 3


def test_open_files_hold_no_file_descriptor(tmp_path):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    cache = RowCache(tmp_path, "s", DIGESTS, 1)
    cache.fill(make, "making")
    assert equal(cache)
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208


def test_a_full_disk_is_detected_after_the_first_file(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(20))
    asked = []

    def large(positions):
        asked.extend(positions)
        return [torch.zeros(2, 2)] * len(positions)

    with pytest.raises(OSError, match=r"GB are needed and the disk of .* has 0\.0 GB") as caught:
        RowCache(tmp_path, "s", DIGESTS, 2).fill(large, "making")
    assert caught.value.errno == errno.ENOSPC
    assert asked == [0, 1], "the first shard tells the size of all"
    assert list(tmp_path.glob("*.rows")) == list(tmp_path.glob(".*.part")) == []


def test_too_little_memory_raises(monkeypatch):
    monkeypatch.setattr(cache_module, "_memory_size", lambda: 10)
    with pytest.raises(OSError, match=r"GB are needed and memory has 0\.0 GB"):
        RowCache(None, "s", DIGESTS, 4).fill(make, "making")


def test_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        cache = RowCache(tmp_path, "s", DIGESTS, 4)
        with pytest.raises(OSError, match="the disk is full"):
            cache.fill(make, "making")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    cache.fill(make, "making")
    assert equal(cache)


def test_files_of_killed_builds_are_removed_after_a_day(tmp_path):
    old, new = tmp_path / ".a.part", tmp_path / ".b.part"
    for path, age in ((old, 25 * 3600), (new, 3600)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    RowCache(tmp_path, "s", DIGESTS, 4).fill(make, "making")
    assert (old.exists(), new.exists()) == (False, True)


@pytest.fixture
def start():
    """Run a function in a forked process (a fresh one would spend seconds on importing torch)."""
    context, running = multiprocessing.get_context("fork"), []

    def start(function, *arguments):
        process = context.Process(target=function, args=arguments)
        process.start()
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.join()


def build(folder, name, seconds=0.0, stop=-1):
    """Make six cache of two rows and write down which; the shard that starts at `stop` is never done."""

    def make(positions):
        with (folder / "made").open("a") as file:
            file.write(f"{name} {positions.start}\n")
        time.sleep(600 if positions.start == stop else seconds)
        return [ROWS[position] for position in positions]

    cache = RowCache(folder / "cache", "s", DIGESTS, 2)
    cache.fill(make, "making")
    assert equal(cache)


def made(folder):
    path = folder / "made"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_processes_share_the_work(tmp_path, start):
    processes = [start(build, tmp_path, name, 0.2) for name in "ab"]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(int(first) for _, first in made(tmp_path)) == [0, 2, 4, 6, 8, 10], "each shard once"
    assert {name for name, _ in made(tmp_path)} == {"a", "b"}


def test_a_waiting_process_continues_a_killed_build(tmp_path, start):
    killed = start(build, tmp_path, "killed", 0.0, 6)
    wait_until(lambda: ("killed", "6") in made(tmp_path))
    waiting = start(build, tmp_path, "waiting")
    wait_until(lambda: len(list((tmp_path / "cache").glob("*.rows"))) == 5)  # all but that of the first
    assert waiting.is_alive()
    killed.kill()
    waiting.join(60)
    assert waiting.exitcode == 0
    assert made(tmp_path) == [("killed", n) for n in "0246"] + [("waiting", n) for n in ("8", "10", "6")]
    cache = RowCache(tmp_path / "cache", "s", DIGESTS, 2)
    cache.fill(never, "making")
    assert equal(cache)


def build_and_die(folder):
    """Be killed at the end of the second file, before it has its name."""
    fsync, calls = os.fsync, []

    def die(number):
        calls.append(number)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(number)

    os.fsync = die
    RowCache(folder, "s", DIGESTS, 4).fill(make, "making")


def test_a_build_killed_while_writing_leaves_no_readable_file(tmp_path, start):
    process = start(build_and_die, tmp_path)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (len(list(tmp_path.glob("*.rows"))), len(list(tmp_path.glob(".*.part")))) == (1, 1)
    asked = []

    def note(positions):
        asked.append(positions.start)
        return make(positions)

    cache = RowCache(tmp_path, "s", DIGESTS, 4)
    cache.fill(note, "making")
    assert asked == [4, 8]
    assert equal(cache)


def test_without_locks_two_processes_do_the_same_work(tmp_path, start, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(cache_module.fcntl, "lockf", unsupported)
    processes = [start(build, tmp_path, name, 0.05) for name in "ab"]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0

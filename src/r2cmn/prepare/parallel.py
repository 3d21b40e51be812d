"""Files converted on all cores, so that a stop at any moment costs nothing that was finished."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence, Sized
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from r2cmn.prepare.journal import Journal, Key, place_for_unfinished, read_journals
from r2cmn.prepare.private import make_folder
from r2cmn.prepare.progress import Progress
from r2cmn.prepare.write import OutputError

STATE = ".prepare"
"""The folder within a data folder that records what is done."""

_CHUNK = 8  # files that a process is given at a time: so many at most are finished before Ctrl-C ends it
_AHEAD = 4  # chunks a process that wait, so that none is idle


class Task(NamedTuple):
    """A file to convert: where it lies, and where the result goes below the data folder."""

    source: Path
    target: str


class Result(NamedTuple):
    """A converted file: its bytes, and what is to be known of it, in plain values."""

    content: bytes
    facts: list[Any]


Convert = Callable[[Path], Result]
"""Makes the new file of an old one; a ValueError or OSError says what is wrong with the old one.

It is handed to other processes, so it has to be picklable, and its `repr` has to name its settings.
"""


class Converted(NamedTuple):
    """What became of the tasks.

    Attributes:
        facts: by target, of each file that is there, whether this run made it or an earlier one.
        num_before: files that earlier runs had converted.
        bad: by target, why a file could not be converted.
    """

    facts: dict[str, list[Any]]
    num_before: int
    bad: dict[str, str]


def num_cores() -> int:
    """Return the cores that this process may use; of a SLURM job, its own."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def convert_files(tasks: Sequence[Task], convert: Convert, out: Path, num_workers: int | None = None) -> Converted:
    """Convert files in parallel, but not those that an earlier run has finished.

    A file that cannot be converted is noted and the others go on. Folders and files are made with mode 0700 and 0600.
    After a kill or Ctrl-C the same call goes on where it stopped. Several calls may work on one `out` at once.

    Args:
        tasks: the files; no two of them with one target.
        convert: makes a new file of an old one.
        out: the data folder.
        num_workers: processes; 1 is this one, None one a core.

    Raises:
        OutputError: where the disk is full, `out` cannot be written, or a process was killed.
        KeyboardInterrupt: on Ctrl-C, after the files that were being converted.
        ValueError: for fewer than one process.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"--workers is {num_workers}: at least 1")
    num_workers = num_workers or num_cores()
    state = out / STATE
    facts: dict[str, list[Any]] = {}
    with explained(out, facts):
        make_folder(state)
        facts |= _finished(tasks, repr(convert), out)
        num_before = len(facts)
        left = [task for task in tasks if task.target not in facts]
        bad: dict[str, str] = {}
        if left:
            with place_for_unfinished(state) as unfinished, Progress("images", len(tasks), num_before) as progress:
                place = (out, state, unfinished)
                with closing(_outcomes(left, place, convert, min(num_workers, len(left)))) as done:
                    for outcomes in done:
                        for target, outcome in outcomes:
                            if isinstance(outcome, str):
                                bad[target] = outcome
                            else:
                                facts[target] = outcome
                        progress.advance(len(outcomes))
    return Converted(facts, num_before, bad)


def _finished(tasks: Sequence[Task], setting: str, out: Path) -> dict[str, list[Any]]:
    recorded = read_journals(out / STATE)
    if not recorded:
        return {}

    def facts(task: Task) -> list[Any] | None:
        try:
            size, facts = recorded[_key(task, setting)]
            return facts if (out / task.target).stat().st_size == size else None
        except (KeyError, OSError):
            return None

    with ThreadPoolExecutor(32) as pool:  # a shared disk answers each question late, but many at once
        found = zip(tasks, pool.map(facts, tasks, chunksize=64), strict=True)
        return {task.target: known for task, known in found if known is not None}


def _key(task: Task, setting: str) -> Key:
    status = task.source.stat()
    return Key(task.target, status.st_size, status.st_mtime_ns, setting)


_Outcomes = list[tuple[str, "list[Any] | str"]]
"""By target, the facts of the new file, or why there is none."""

_Chunks = Generator[_Outcomes, None, None]

_Place = tuple[Path, Path, Path]
"""The data folder, the folder of the journals, and that of unfinished files."""


def _outcomes(tasks: Sequence[Task], place: _Place, convert: Convert, num_workers: int) -> _Chunks:
    chunks = (tasks[first : first + _CHUNK] for first in range(0, len(tasks), _CHUNK))
    if num_workers == 1:
        with closing(Journal(*place)) as journal:
            yield from (_convert_chunk(journal, convert, chunk) for chunk in chunks)
        return
    # Spawned, because a fork copies locks that the threads of this process may hold.
    pool = ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"), _begin, (place, convert))
    try:
        with _ctrl_c_ignored():  # which the new processes inherit: Ctrl-C is for this one to answer
            running = {pool.submit(_convert_in_pool, chunk) for chunk in islice(chunks, _AHEAD * num_workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(_convert_in_pool, chunk) for chunk in islice(chunks, len(done))}
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_of_process: tuple[Journal, Convert]
"""What a process of the pool works with."""


def _begin(place: _Place, convert: Convert) -> None:
    """Prepare a process of the pool, and let it end when the one that started it does."""
    global _of_process
    _of_process = Journal(*place), convert
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _convert_in_pool(tasks: Sequence[Task]) -> _Outcomes:
    return _convert_chunk(*_of_process, tasks)


def _convert_chunk(journal: Journal, convert: Convert, tasks: Sequence[Task]) -> _Outcomes:
    outcomes: _Outcomes = []
    for task in tasks:
        try:
            key = _key(task, repr(convert))
            content, facts = convert(task.source)
        except FileNotFoundError:
            outcomes.append((task.target, f"there is no image at {task.source}"))
        except OSError as error:
            outcomes.append((task.target, f"{task.source} cannot be read: {error.strerror}"))
        except ValueError as error:
            outcomes.append((task.target, str(error)))
        else:
            journal.add(key, content, facts)
            outcomes.append((task.target, facts))
    return outcomes


@contextmanager
def explained(out: Path, done: Sized = ()) -> Iterator[None]:
    """Turn an OSError of a data folder that cannot be written into one sentence.

    Args:
        out: the data folder.
        done: the images that are finished.

    Raises:
        OutputError: in place of the OSError.
    """
    try:
        yield
    except OutputError:
        raise
    except BrokenProcessPool:
        raise OutputError(
            f"a process that converts images was killed, perhaps for lack of memory{_after(done)}: "
            "give the same command again, with fewer --workers"
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"the disk of {out} is full{_after(done)}: make room and give the same command again, "
                "which goes on from there"
            ) from error
        raise OutputError(f"{out} cannot be written ({error.strerror or error}): name another folder") from error


def _after(done: Sized) -> str:
    return f" after {len(done):,} images" if done else ""

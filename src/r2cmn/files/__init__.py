"""Files and folders: writing whole or not at all, reading JSON, private folders, the cache folder.

Also choices and lists of names in messages, the number of CPU cores and the import of optional libraries.

Nothing here imports torch, Hydra or another module of r2cmn.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from r2cmn.files.home import cache_dir as cache_dir
from r2cmn.files.home import expand_user as expand_user
from r2cmn.files.home import settle_home as settle_home

PUBLIC_FILE = 0o644
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
DISK_FULL = "the disk is full"
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
_TAIL_BYTES = 65_536
"""Characters of the longest field of a CSV; the csv module stops at 131,072."""


@contextmanager
def whole_file(path: Path, mode: int = PUBLIC_FILE) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; it replaces `path` on success and is removed on failure.

    The temporary name is unique, so several processes may write the same file. The content is flushed to disk before
    the rename. A device or pipe, such as `/dev/stdout`, is not replaced but written to.

    Args:
        path: the file to write; its folder is created.
        mode: permissions of the file; the umask takes more of them away.

    Raises:
        OSError: naming `path`, if it is a folder, the disk is full or the folder cannot be written.
    """
    check_writable(path)
    temporary = None
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode & ~_umask())
        Path(temporary).replace(path)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # torch's writer hides the system's error
        if not isinstance(cause, OSError) or cause.errno is None or cause.filename not in (None, temporary):
            raise
        reason = DISK_FULL if cause.errno in DISK_FULL_ERRORS else cause.strerror
        raise OSError(cause.errno, reason, str(path)) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def os_reason(error: OSError) -> str:
    """Return what an error of the system says and the file that it names; a full disk is called so."""
    reason = DISK_FULL if error.errno in DISK_FULL_ERRORS else error.strerror or first_line(error)
    return f"{reason}: {error.filename}" if error.filename else reason


def _umask() -> int:
    """Return the umask, which the system tells only while it is set; meanwhile files of other threads are private."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def check_writable(path: Path) -> None:
    """Create the folder of a file, so that an error shows before minutes are spent on the file's content.

    Raises:
        OSError: naming `path`, if it is a folder or its folder cannot be created.
    """
    if path.is_dir():
        raise OSError(errno.EISDIR, f"{path} is a folder: name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(parent for parent in path.parents if parent.exists())
        raise OSError(errno.ENOTDIR, f"{path} cannot be written: {file} is not a folder") from error


def write_whole(path: Path, content: str | bytes, mode: int = PUBLIC_FILE) -> None:
    """Write a file whole or not at all; text is written as UTF-8.

    Raises:
        OSError: if the file cannot be written.
    """
    encoded = content.encode("utf-8", errors="backslashreplace") if isinstance(content, str) else content
    with whole_file(path, mode) as file:
        file.write(encoded)


def write_json(path: Path, content: Any, mode: int = PUBLIC_FILE) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        OSError: if the file cannot be written.
        TypeError: if the content has no JSON form.
    """
    write_whole(path, json.dumps(content, indent=2), mode)


def read_json(path: Path, unique_keys: bool = False) -> Any:
    """Read a JSON file.

    Args:
        path: a file of UTF-8 text; a byte order mark is skipped.
        unique_keys: whether an object with the same key twice is an error.

    Raises:
        ValueError: naming the file, if it is missing, not UTF-8 or not JSON, or if a key repeats.
    """
    try:
        return json.loads(
            path.read_text(encoding="utf-8-sig"), object_pairs_hook=dict_of_unique if unique_keys else None
        )
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error


def dict_of_unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary; as `object_pairs_hook` of `json`, it refuses an object with a key twice.

    Raises:
        ValueError: naming a key that repeats.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError(f"an object has the key {name_some(repeated(key for key, _ in pairs))} more than once")
    return made


def read_object(path: Path) -> dict[str, Any] | None:
    """Read the object in a JSON file; None if the file is missing, damaged or holds something else."""
    try:
        content = read_json(path)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def read_tail(path: Path, start: int = 0) -> str:
    """Return the end of a log, at most 64 KiB, of what follows its first `start` bytes; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, 2) - _TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def name_some(names: Iterable[str], most: int = 3) -> str:
    """List the first few of many names: `'a', 'b', 'c' and 5 more`."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(f"'{name}'" for name in listed[:most]) + (f" and {rest} more" if rest > 0 else "")


def first_lines(lines: Sequence[str], most: int = 20) -> list[str]:
    """Return the first lines of a list and, if there are more, a line with the number of the others."""
    rest = len(lines) - most
    return [*lines[:most], *([f"and {rest:,} more"] if rest > 0 else [])]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; the name of its class if the message is empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


_CLUTTER = {"__macosx", "@eadir", "thumbs", "thumbnails", "thumbs.db", "desktop.ini", "$recycle.bin", "dicomdir"}


def is_clutter(name: str) -> bool:
    """Whether a file or folder was made by a system or an editor: hidden, of macOS or Jupyter, thumbnails, an index.

    Args:
        name: its name, or its path with slashes, of which every part is looked at.
    """
    return any((part.startswith(".") and part != ".") or part.lower() in _CLUTTER for part in name.split("/"))


def walk_files(folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield the path of each file below a folder, with slashes, sorted within each folder, and whether it is clutter.

    Links to folders are followed, except to a folder that holds the link.
    """
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent)
        back = [n for n in folders if (here / n).is_symlink() and here.resolve().is_relative_to((here / n).resolve())]
        folders[:] = sorted(set(folders) - set(back))
        for name in sorted(names):
            if (here / name).is_file():
                path = (here / name).relative_to(folder).as_posix()
                yield path, is_clutter(path)


def utf8_fault(text: str) -> str | None:
    """Return why a text cannot be written as UTF-8, as the end of a sentence; None if it can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        return f"cannot be written as UTF-8: it has half of a surrogate pair ({half}) at character {error.start + 1}"
    return None


def native_name(name: str) -> str:
    """Return a file name of a UTF-8 table as the system writes it, whatever the locale."""
    try:
        return os.fsdecode(name.encode(errors="surrogateescape"))
    except UnicodeEncodeError:  # half of a surrogate pair; no file has this name
        return name


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, each with mode 0700."""
    missing = [folder, *folder.parents]
    missing = missing[: next(i for i, path in enumerate(missing) if path.exists())]
    for path in reversed(missing):
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def make_private(folder: Path) -> list[Path]:
    """Take the rights of other users from a folder and all that is in it, links aside; return what refuses it."""
    refused = []
    for place, _, names in os.walk(folder):
        for path in (Path(place), *(Path(place) / name for name in names)):
            try:
                mode = path.lstat().st_mode
                if stat.S_IMODE(mode) & 0o077 and not stat.S_ISLNK(mode):
                    path.chmod(stat.S_IMODE(mode) & ~0o077)
            except FileNotFoundError:  # of a process that is still running
                continue
            except OSError:
                refused.append(path)
    return refused


_STALE_SECONDS = 24 * 3600


def remove_stale(paths: Iterable[Path]) -> None:
    """Remove unfinished files and folders that killed processes left behind.

    Args:
        paths: files and folders with temporary names. One that changed within a day, or of which an entry did, is kept.
    """
    for path in paths:
        with suppress(OSError):
            entries = path.iterdir() if path.is_dir() else ()
            if time.time() - max(entry.stat().st_mtime for entry in (path, *entries)) < _STALE_SECONDS:
                continue
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def remove_unfinished(folder: Path, *patterns: str) -> None:
    """Remove what killed processes left of `whole_file` in a folder that is locked: files that match any pattern."""
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        with suppress(OSError):
            path.unlink()


def check_choice(option: str, value: str, choices: Collection[str]) -> str:
    """Return the value of an option.

    Raises:
        ValueError: if it is not one of the choices.
    """
    if value not in choices:
        raise ValueError(f"{option} is one of {', '.join(choices)}, not {value!r}")
    return value


def num_cores() -> int:
    """Return the number of CPU cores that this process may use, which a container or a batch job may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_optional(module: str, what: str, extra: str) -> Any:
    """Import a module of an optional library.

    Args:
        module: its full name, such as `scipy.special`.
        what: what needs it; the beginning of the error message.
        extra: the extra of r2cmn that installs it.

    Raises:
        ValueError: naming the library and the extra, if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ValueError(f"{what} needs {library}, which is not installed: pip install 'r2cmn[{extra}]'") from error

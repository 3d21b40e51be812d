"""Files and folders: writing whole or not at all, reading JSON, private folders, the cache folder.

Also choices and lists of names in messages, the number of CPU cores and the import of optional libraries.

Nothing here imports torch, Hydra or another module of r2cmn.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from r2cmn.files.home import cache_dir as cache_dir
from r2cmn.files.home import expand_user as expand_user
from r2cmn.files.home import settle_home as settle_home
from r2cmn.files.words import first_line, name_some, repeated

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


def check_writable(path: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Create the folder of a file, so that an error shows before minutes are spent on the file's content.

    Args:
        path: the file.
        inputs: what it is made from.

    Raises:
        ValueError: if it is one of the inputs.
        OSError: naming `path`, if it is a folder or its folder cannot be created.
    """
    if path.exists() and any(each is not None and each.exists() and path.samefile(each) for each in inputs):
        raise ValueError(f"{path} is read by this command and would be replaced: name another file for the output")
    if path.is_dir():
        raise OSError(errno.EISDIR, f"{path} is a folder: name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(parent for parent in path.parents if parent.exists())
        raise OSError(errno.ENOTDIR, f"{path} cannot be written: {file} is not a folder") from error


def check_targets(paths: Iterable[Path | None], overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Check that files can be written.

    Args:
        paths: the files; None is skipped.
        overwrite: whether they may replace others.
        inputs: as in `check_writable`.

    Raises:
        ValueError: naming the path, if it is a file that `overwrite` does not allow to replace, or an input.
        OSError: naming the path, if it is a folder or its folder cannot be created.
    """
    for path in filter(None, paths):
        check_writable(path, inputs)
        if path.is_file() and not overwrite:
            raise ValueError(f"{path} exists already: choose another name, or give --overwrite")


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


def check_regular(path: Path) -> None:
    """Raise ValueError, naming the path, if it is a pipe or a device: reading it may wait forever or never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(f"{path} is a pipe or a device, not a file")


def read_json(path: Path, unique_keys: bool = False) -> Any:
    """Read a JSON file.

    Args:
        path: a file of UTF-8 text; a byte order mark is skipped.
        unique_keys: whether an object with the same key twice is an error.

    Raises:
        ValueError: naming the file, if it is missing, not UTF-8 or not JSON, or if a key repeats.
    """
    check_regular(path)
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

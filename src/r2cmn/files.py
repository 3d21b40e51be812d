"""Files and folders: whole-or-nothing writing, reading of JSON, private folders, the cache folder, optional libraries.

Nothing here imports torch, Hydra or another module of r2cmn.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

PUBLIC_FILE = 0o644
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


@contextmanager
def whole_file(path: Path, mode: int = PUBLIC_FILE) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; it replaces `path` on success and is removed on failure.

    The temporary name is unique, so several processes may write the same file. The content is flushed to disk before
    the rename.

    Args:
        path: the file to write; its folder is created.
        mode: permissions of the file.

    Raises:
        OSError: if the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


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


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: naming the file, if it is missing, not UTF-8 or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error


def read_object(path: Path) -> dict[str, Any] | None:
    """Read the object in a JSON file; None if the file is missing, damaged or holds something else."""
    try:
        content = read_json(path)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, each with mode 0700."""
    missing = [folder, *folder.parents]
    missing = missing[: next(i for i, path in enumerate(missing) if path.exists())]
    for path in reversed(missing):
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def cache_dir(*parts: str) -> Path:
    """Return `$R2CMN_CACHE` or `~/.cache/r2cmn`, or a folder in it; it is not created."""
    return Path(os.environ.get("R2CMN_CACHE") or "~/.cache/r2cmn").expanduser().joinpath(*parts)


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

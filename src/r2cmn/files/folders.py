"""Folders: what counts as a file in them, who may read them, and what killed processes left there."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from r2cmn.files import PRIVATE_FOLDER

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

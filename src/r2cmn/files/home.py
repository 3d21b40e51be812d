"""The home folder, `~` in paths, and the cache folder."""

from __future__ import annotations

import functools
import getpass
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

_PRIVATE = 0o700


def expand_user(path: str | Path) -> Path:
    """Return a path with `~` replaced by the home folder; unchanged if there is none, as for an unknown user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # pathlib's raises


def cache_dir(*parts: str) -> Path:
    """Return `$R2CMN_CACHE` or `~/.cache/r2cmn`, or a folder in it.

    Without a home folder that can be written, it is a private folder in the temporary folder; one line says so.
    """
    given = os.environ.get("R2CMN_CACHE")
    root = expand_user(given) if given else _home_cache(os.environ.get("HOME"))
    return root.joinpath(*parts)


@functools.cache
def _home_cache(_home: str | None) -> Path:
    folder = expand_user("~/.cache/r2cmn")
    with suppress(OSError):
        if folder.is_absolute():
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"r2cmn-{user}"
    with suppress(OSError):
        folder.mkdir(mode=_PRIVATE)
    if not _is_own(folder):  # somebody else's folder or link of this name
        folder = Path(tempfile.mkdtemp(prefix="r2cmn-"))
    print(f"r2cmn: no home folder that can be written: the cache is {folder} (or set R2CMN_CACHE)", file=sys.stderr)
    return folder


def _is_own(folder: Path) -> bool:
    """Whether a path is a folder, and no link, of this user that only this user can write to."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    is_user = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return stat.S_ISDIR(status.st_mode) and is_user and not status.st_mode & 0o022


def settle_home() -> None:
    """Give this process and its children a home folder if the user has none.

    In a container or a cron job, HOME may be unset and the user unknown; other libraries would write to a folder named
    `~`, or raise.
    """
    if not expand_user("~").is_absolute():
        os.environ["HOME"] = os.environ["R2CMN_CACHE"] = str(cache_dir())
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"user{os.getuid()}" if hasattr(os, "getuid") else "user"

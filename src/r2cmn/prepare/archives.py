"""Files of a download, read one by one from a tar, a zip or a folder.

Nothing is unpacked to the disk, so that no name in an archive decides where a file is written.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from r2cmn.files.folders import is_clutter, walk_files

MAX_FILE = 512 * 2**20
"""Maximum bytes of one file of a download; the largest X-ray has a tenth of it."""

_CHUNK = 2**20


class RawError(ValueError):
    """A download cannot be used."""


@dataclass(frozen=True)
class RawFile:
    """One file of a download.

    Attributes:
        name: path in the archive or the folder, with slashes.
        read: returns its content; in an archive, only until the next file is requested.
        path: path on the disk; None in an archive.
    """

    name: str
    read: Callable[[], bytes]
    path: Path | None = None


def is_archive(path: Path) -> bool:
    """Whether a file begins like a zip, a tar or a gzip file; its suffix does not matter."""
    return path.is_file() and _kind(path) is not None


def raw_files(path: Path) -> Iterator[RawFile]:
    """Yield the files of a folder, sorted by name, or of an archive in its own order.

    Raises:
        RawError: if there is nothing, or the file is not an archive, is truncated or damaged, or holds a name or a
            link that leads out of it.
    """
    if path.is_dir():
        yield from _files_of_folder(path)
        return
    if not path.is_file():
        raise RawError(f"there is no file or folder {path}")
    kind = _kind(path)
    if kind is None:
        raise RawError(_why_no_archive(path))
    with _explained(path):
        yield from _files_of_zip(path) if kind == "zip" else _files_of_tar(path, kind)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, tarfile.ReadError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile) as error:
        raise RawError(f"{path} is cut short or damaged ({error}): download it again") from None
    except (tarfile.TarError, NotImplementedError, RuntimeError) as error:  # unknown method, encrypted file
        raise RawError(f"{path} cannot be read: {error}") from None


def _kind(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "gz"
    return "tar" if head[257:262] == b"ustar" else None


def _why_no_archive(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return f"{path} is empty: download it again"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return f"{path} is a web page, not an archive: the server answered with an error, so download it again"
    return f"{path} is neither a tar nor a zip: give the archive as downloaded, or the folder it unpacks to"


def _files_of_folder(folder: Path) -> Iterator[RawFile]:
    for name, is_left_out in walk_files(folder):
        if not is_left_out:
            yield RawFile(name, partial(_bounded, folder / name), folder / name)


def _bounded(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_FILE:
        raise RawError(_too_large(path, path.name, size))
    return path.read_bytes()


def _files_of_tar(path: Path, kind: str) -> Iterator[RawFile]:
    # gzip, because tarfile's own reader of compressed streams takes a truncated file for a short one
    with gzip.open(path) if kind == "gz" else path.open("rb") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                _check_name(path, member.name)
                if not (member.isfile() or member.isdir()):
                    raise RawError(f"{path} holds the link or device '{member.name}': do not use it")
                if member.isfile() and not is_clutter(member.name):
                    if member.size > MAX_FILE:
                        raise RawError(_too_large(path, member.name, member.size))
                    yield RawFile(_clean(member.name), partial(_read_tar, path, archive, member))
        while stream.read(_CHUNK):  # reads up to the checksum at the end
            pass


def _read_tar(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    with _explained(path):
        file = archive.extractfile(member)
        content = file.read() if file is not None else b""
        if len(content) != member.size:
            raise EOFError(f"'{member.name}' has {len(content)} of {member.size} bytes")
        return content


def _read_zip(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with _explained(path):
        return archive.read(member)


def _files_of_zip(path: Path) -> Iterator[RawFile]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            _check_name(path, member.filename)
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise RawError(f"{path} holds the link '{member.filename}': do not use it")
        for member in members:
            if not member.is_dir() and not is_clutter(member.filename):
                if member.file_size > MAX_FILE:
                    raise RawError(_too_large(path, member.filename, member.file_size))
                yield RawFile(_clean(member.filename), partial(_read_zip, path, archive, member))


def _check_name(path: Path, name: str) -> None:
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise RawError(f"{path} holds '{name}', a name that leads out of its folder: do not use or unpack this archive")


def _clean(name: str) -> str:
    return name.removeprefix("./")


def _too_large(path: Path, name: str, size: int) -> str:
    return f"{path}: '{name}' has {size:,} bytes, more than the maximum of {MAX_FILE:,}"

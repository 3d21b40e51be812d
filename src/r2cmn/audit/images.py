"""Every image of a data folder read once, by all cores; what was learnt of it is remembered."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from r2cmn.data.images import load_image
from r2cmn.data.index import perceptual_hash
from r2cmn.prepare.parallel import num_cores
from r2cmn.prepare.progress import Progress

NEARLY_CONSTANT = 3
"""Levels of gray between the darkest and the brightest pixel of an image that shows nothing, which JPEG may add."""

_CHUNK = 32  # images that a thread reads at a time, and that are remembered at once
_VERSION = 1  # of what is remembered; to be raised with the hash


class ImageFacts(NamedTuple):
    """What an audit knows of an image.

    Attributes:
        width, height: pixels.
        mode: how the file holds a pixel, in Pillow's words: L, RGB, I;16, ...; or DICOM.
        darkest, brightest: of its pixels in 8-bit gray.
        coarse, fine: `perceptual_hash`.
    """

    width: int
    height: int
    mode: str
    darkest: int
    brightest: int
    coarse: int
    fine: bytes

    @property
    def constant(self) -> bool:
        """Whether it shows nothing."""
        return self.brightest - self.darkest <= NEARLY_CONSTANT


def read_images(paths: Sequence[Path]) -> tuple[dict[Path, ImageFacts], dict[Path, str]]:
    """Read images whole, but not those that an earlier audit has read and that did not change.

    Returns:
        The facts by path, and of those that cannot be read the reason.
    """
    facts: dict[Path, ImageFacts] = {}
    faults: dict[Path, str] = {}
    remembered = _Remembered()
    with ThreadPoolExecutor(min(32, 2 * num_cores())) as pool, Progress("images", len(paths)) as progress:
        keys = dict(zip(paths, pool.map(_key, paths, chunksize=256), strict=True))
        known = remembered.find(key for key in keys.values() if key is not None)
        facts |= {path: known[key] for path, key in keys.items() if key in known}
        left = [path for path in paths if path not in facts]
        progress.advance(len(facts))
        chunks = [left[start : start + _CHUNK] for start in range(0, len(left), _CHUNK)]
        try:
            for chunk, results in zip(chunks, pool.map(_read_all, chunks), strict=True):
                for path, result in zip(chunk, results, strict=True):
                    if isinstance(result, str):
                        faults[path] = result
                    else:
                        facts[path] = result
                remembered.add({key: facts[path] for path in chunk if path in facts and (key := keys[path])})
                progress.advance(len(chunk))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest
            raise
        finally:
            remembered.close()
    return facts, faults


def _read_all(paths: Sequence[Path]) -> list[ImageFacts | str]:
    results: list[ImageFacts | str] = []
    for path in paths:
        try:
            results.append(_read(path))
        except (OSError, ValueError) as error:
            results.append(str(error))
    return results


def _read(path: Path) -> ImageFacts:
    picture = load_image(path).convert("L")
    levels = np.flatnonzero(picture.histogram())
    return ImageFacts(*picture.size, _mode(path), int(levels[0]), int(levels[-1]), *perceptual_hash(picture))


def _mode(path: Path) -> str:
    try:
        with Image.open(path) as image:
            return image.mode
    except Image.UnidentifiedImageError:
        return "DICOM"


def _key(path: Path) -> bytes | None:
    try:
        status = path.stat()
    except OSError:
        return None
    key = f"{_VERSION}\0{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16).digest()


class _Remembered:
    """Facts by a digest of path, size and time of change, in `$R2CMN_CACHE` or `~/.cache/r2cmn`.

    It holds neither a name nor a picture. Where it cannot be read or written, the images are read again.
    """

    def __init__(self) -> None:
        folder = Path(os.environ.get("R2CMN_CACHE") or Path.home() / ".cache" / "r2cmn")
        self._database: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(folder / "audited_images.sqlite", timeout=10)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS images (key BLOB PRIMARY KEY, width INT, height INT, mode TEXT, "
                "darkest INT, brightest INT, coarse BLOB, fine BLOB) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error):
            self._give_up()

    def find(self, keys: Iterable[bytes]) -> dict[bytes, ImageFacts]:
        """Return the facts of those that are known."""
        wanted = list(keys)
        found: dict[bytes, ImageFacts] = {}
        try:
            for start in range(0, len(wanted) if self._database else 0, 500):
                some = wanted[start : start + 500]
                assert self._database is not None
                marks = ",".join("?" * len(some))
                for row in self._database.execute(f"SELECT * FROM images WHERE key IN ({marks})", some):
                    key, width, height, mode, darkest, brightest, coarse, fine = row
                    bits = int.from_bytes(coarse, "big")
                    found[key] = ImageFacts(width, height, mode, darkest, brightest, bits, fine)
        except (sqlite3.Error, TypeError):
            self._give_up()
            return {}
        return found

    def add(self, facts: dict[bytes, ImageFacts]) -> None:
        """Remember some."""
        if self._database is None:
            return
        # SQLite's integers have a sign, so 64 bits go in as bytes
        rows = [(key, *known[:5], known.coarse.to_bytes(8, "big"), known.fine) for key, known in facts.items()]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO images VALUES (?,?,?,?,?,?,?,?)", rows)
        except sqlite3.Error:
            self._give_up()

    def close(self) -> None:
        """Close the file."""
        self._give_up()

    def _give_up(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database = None

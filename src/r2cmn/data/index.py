"""Index of images: each file is decoded and measured once, and the result is remembered between runs.

The check before training (`r2cmn.data.check`) and the audit of a data folder (`r2cmn.audit`) both call
`measure_images`, so an image that one of them has decoded is not decoded again by the other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from r2cmn.data.cache import image_digest
from r2cmn.data.images import load_image
from r2cmn.data.progress import Progress
from r2cmn.files import cache_dir, num_cores

NEARLY_CONSTANT = 3
"""Largest difference of gray levels in an image that shows nothing; JPEG may add so much to a constant image."""

COARSE_SIDE, FINE_SIDE = 8, 16
"""Coefficients in each direction of the two perceptual hashes: 64 and 256 bits."""

_VERSION = 3  # of what is remembered; raise it if the hash changes, or if more files are refused
_CHUNK = 64  # images that a thread reads at a time
_QUERY = 500  # keys of a query; older versions of SQLite allow 999
_SIDE = 32  # pixels of the small image that is hashed


class ImageFacts(NamedTuple):
    """Measurements of an image.

    Attributes:
        width, height: pixels.
        mode: pixel format of the file: a mode of Pillow such as L, RGB or I;16, or DICOM.
        darkest, brightest: lowest and highest value in 8-bit gray.
        coarse, fine: the two hashes of `perceptual_hash`.
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
        """Whether the image shows nothing."""
        return self.brightest - self.darkest <= NEARLY_CONSTANT


def measure_images(paths: Sequence[Path], any_modality: bool = False) -> tuple[dict[Path, ImageFacts], dict[Path, str]]:
    """Measure images with several threads and show the progress; only new, changed and unreadable files are decoded.

    A file counts as unchanged if its path, size and modification time are the same. If the index cannot be read or
    written, all images are decoded.

    Args:
        paths: the files, without repetition.
        any_modality: see `r2cmn.data.dicom.read_dicom`.

    Returns:
        The facts by path, and for each image that cannot be read the reason.
    """
    facts: dict[Path, ImageFacts] = {}
    faults: dict[Path, str] = {}
    with (
        closing(_Index(any_modality)) as index,
        Progress("images", len(paths)) as progress,
        ThreadPoolExecutor(min(32, 2 * num_cores())) as pool,
    ):
        digests = [digest for row in pool.map(_digest_chunk, _chunks(paths)) for digest in row]
        keys = dict(zip(paths, digests, strict=True))
        known = index.find(key for key in digests if key is not None)
        facts |= {path: known[key] for path, key in keys.items() if key in known}
        progress.advance(len(facts), is_new=False)
        chunks = _chunks([path for path in paths if path not in facts])
        try:
            for chunk, results in zip(chunks, pool.map(partial(_measure_chunk, any_modality), chunks), strict=True):
                measured = {path: result for path, result in results.items() if isinstance(result, ImageFacts)}
                facts |= measured
                faults |= {path: result for path, result in results.items() if isinstance(result, str)}
                index.add({key: found for path, found in measured.items() if (key := keys[path]) is not None})
                progress.advance(len(chunk))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the remaining images
            raise
    return facts, faults


def perceptual_hash(picture: Image.Image) -> tuple[int, bytes]:
    """Return a coarse hash of 64 bits, as an integer, and a fine hash of 256 bits.

    Each bit says whether a coefficient of the discrete cosine transform is above the median of all coefficients, so
    brightness and contrast do not matter.
    """
    small = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    coefficients = _COSINES @ np.asarray(small, dtype=np.float64) @ _COSINES.T
    coarse, fine = _bits(coefficients[:COARSE_SIDE, :COARSE_SIDE]), _bits(coefficients)
    return int.from_bytes(coarse, "big"), fine


def _cosines(number: int) -> np.ndarray:
    k, i = np.arange(1, number + 1)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * k * (2 * i + 1) / (2 * _SIDE))


_COSINES = _cosines(FINE_SIDE)


def _bits(coefficients: np.ndarray) -> bytes:
    return np.packbits(coefficients.ravel() > np.median(coefficients)).tobytes()


def _chunks(paths: Sequence[Path]) -> list[Sequence[Path]]:
    return [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]


def _digest_chunk(paths: Sequence[Path]) -> list[bytes | None]:
    return [_digest(path) for path in paths]


def _digest(path: Path) -> bytes | None:
    try:
        return image_digest(path)
    except (OSError, ValueError):  # load_image names the reason
        return None


def _measure_chunk(any_modality: bool, paths: Sequence[Path]) -> dict[Path, ImageFacts | str]:
    return {path: _measure(path, any_modality) for path in paths}


def _measure(path: Path, any_modality: bool) -> ImageFacts | str:
    try:
        picture = load_image(path, any_modality=any_modality).convert("L")
        darkest, brightest = picture.getextrema()
        mode = _mode(path)
    except (OSError, ValueError) as error:
        return str(error)
    return ImageFacts(*picture.size, mode, darkest, brightest, *perceptual_hash(picture))  # type: ignore[arg-type]


def _mode(path: Path) -> str:
    try:
        with Image.open(path) as image:
            return image.mode
    except Image.UnidentifiedImageError:
        return "DICOM"


class _Index:
    """Facts by digest in `$R2CMN_CACHE/image_index_v*.sqlite`, without file names and pixels.

    Several processes may use it at once. After an error it finds nothing and keeps nothing. Images that only
    `any_modality` accepts are in a file of their own, so that training does not take them for checked.
    """

    def __init__(self, any_modality: bool) -> None:
        path = cache_dir() / f"image_index_v{_VERSION}{'_any' if any_modality else ''}.sqlite"
        self._database: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=10)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS images (key BLOB PRIMARY KEY, width INT, height INT, mode TEXT, "
                "darkest INT, brightest INT, coarse BLOB, fine BLOB) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error):
            self.close()

    def find(self, keys: Iterable[bytes]) -> dict[bytes, ImageFacts]:
        """Return the facts of the images that are known."""
        wanted = list(keys)
        found: dict[bytes, ImageFacts] = {}
        try:
            for start in range(0, len(wanted) if self._database else 0, _QUERY):
                some = wanted[start : start + _QUERY]
                assert self._database is not None
                marks = ",".join("?" * len(some))
                for row in self._database.execute(f"SELECT * FROM images WHERE key IN ({marks})", some):
                    key, width, height, mode, darkest, brightest, coarse, fine = row
                    bits = int.from_bytes(coarse, "big")
                    found[key] = ImageFacts(width, height, mode, darkest, brightest, bits, fine)
        except (sqlite3.Error, TypeError):
            self.close()
            return {}
        return found

    def add(self, facts: dict[bytes, ImageFacts]) -> None:
        """Remember the facts of some images."""
        if self._database is None:
            return
        # SQLite's integers are signed, so the 64 bits are stored as bytes
        rows = [(key, *known[:5], known.coarse.to_bytes(8, "big"), known.fine) for key, known in facts.items()]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO images VALUES (?,?,?,?,?,?,?,?)", rows)
        except sqlite3.Error:
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
        self._database = None

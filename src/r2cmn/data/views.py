"""Images of studies: decoded each time, or decoded once and cached as pixels."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from r2cmn.data.cache import RowCache, image_digest
from r2cmn.data.images import Preparation, load_image
from r2cmn.data.rows import Rows
from r2cmn.files import cache_dir, num_cores

CACHES = ("none", "memory", "disk")
"""Places that keep decoded images between epochs."""

log = logging.getLogger("r2cmn")

_VERSION = 3  # of what a row of pixels holds
_IMAGES_PER_FILE = 512  # 34 MB at 256 pixels


class Pixels(Protocol):
    """Images by position, (1 or 3, h, w) uint8, read-only; one channel is used for three equal ones."""

    def __getitem__(self, position: int) -> Tensor: ...


class ImageFiles:
    """Images that are decoded and resized at each access; their paths are stored in flat tensors (see `Rows`).

    Args:
        paths: the files.
        preparation: its first step, `resize`, is applied.
    """

    def __init__(self, paths: Sequence[Path], preparation: Preparation):
        self.resize = preparation.resize
        self._names = Rows.of([torch.tensor(list(os.fsencode(path)), dtype=torch.uint8) for path in paths])

    def __getitem__(self, position: int) -> Tensor:
        return self.resize(load_image(os.fsdecode(bytes(self._names[position].numpy()))))


class CachedImages:
    """Images that were decoded and resized once; one that could not be cached is decoded at each access.

    Args:
        files: the image files.
        cache: their pixels.
    """

    def __init__(self, files: ImageFiles, cache: RowCache):
        self.files = files
        self.cache = cache

    def __getitem__(self, position: int) -> Tensor:
        try:
            return self.cache[position]
        except KeyError:
            return self.files[position]


def read_images(paths: Sequence[Path], preparation: Preparation, cache: str = "none") -> Pixels:
    """Return resized images; the pixels are the same with every cache.

    Args:
        paths: the files.
        preparation: its first step, `resize`, is applied; the cache depends on its name.
        cache: "none" decodes at each access; "memory" decodes now, into this process; "disk" decodes now, into
            `$R2CMN_CACHE/images`, which all processes share. If the disk is full or cannot be written, a warning is
            logged and the missing images are decoded at each access.

    Raises:
        ImageError: if a file is not an image.
        OSError: if memory does not suffice.
    """
    files = ImageFiles(paths, preparation)
    if cache == "none":
        return files
    folder = cache_dir("images") if cache == "disk" else None
    digests = [image_digest(path) for path in paths]
    rows = RowCache(folder, f"images {_VERSION}, {preparation.name}", digests, _IMAGES_PER_FILE)
    with ThreadPoolExecutor(max_workers=min(32, num_cores())) as pool:
        try:
            rows.fill(lambda positions: list(pool.map(partial(_one_channel, files), positions)), "decoding images")
        except OSError as error:
            if cache == "memory":
                raise
            log.warning(
                "data.cache=disk: %s (%s): missing images are decoded each epoch; set R2CMN_CACHE to a folder with "
                "room, or data.cache=none", error.strerror or error, folder
            )  # fmt: skip
    return CachedImages(files, rows)


def _one_channel(files: ImageFiles, position: int) -> Tensor:
    """Drop two channels of a gray image, which most X-rays are."""
    pixels = files[position]
    is_gray = torch.equal(pixels[0], pixels[1]) and torch.equal(pixels[1], pixels[2])
    return pixels[:1] if is_gray else pixels


class StudyViews:
    """The views of each study, cut to the size that the model reads, at random in training.

    Args:
        pixels: the images of all studies, `num_views` for each.
        cut: `Preparation.cut`.
        num_views: images of a study.
    """

    def __init__(self, pixels: Pixels, cut: Callable[[Tensor], Tensor], num_views: int):
        self.pixels = pixels
        self.cut = cut
        self.num_views = num_views

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        first = index * self.num_views
        return tuple(self.cut(self.pixels[position]) for position in range(first, first + self.num_views))


def start_worker(_worker: int, rank: int) -> None:
    """Seed a worker by its rank, so that ranks crop differently, and limit its memory.

    DataLoader seeds worker w with base + w; the ranks of a run draw the same base.
    """
    if rank:
        torch.manual_seed(hash((torch.initial_seed(), rank)))
    gc.freeze()  # a collection writes to every object of the parent process and so copies its memory page

"""Conversion of an image of a download to the file in the data folder."""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from PIL import Image

from r2cmn.data.dicom import SUFFIXES as DICOM_SUFFIXES
from r2cmn.data.dicom import is_dicom, read_dicom
from r2cmn.data.image_errors import check_size
from r2cmn.data.images import load_image
from r2cmn.files.words import check_choice

SAVE = ("png", "jpeg", "copy", "link")
DEFAULT_SIDE = 512
DEFAULT_QUALITY = 95


@dataclass(frozen=True)
class Rendering:
    """Format of the images in a data folder.

    Attributes:
        save: png or jpeg, 8-bit gray; copy or link: the file of the download, after it was read whole.
        side: maximum pixels of the short side, the aspect kept; 0 for no limit. Images are never enlarged. Must be 0
            for copy and link.
        quality: JPEG quality, 1 to 95.
        clip: two percentiles of a DICOM file's values that become black and white; None for the window of the file.
        any_modality: read DICOM files of another modality than radiography, or of none. Not with copy and link, because
            training would refuse the files.

    Raises:
        ValueError: for an invalid value.
    """

    save: str = "png"
    side: int = DEFAULT_SIDE
    quality: int = DEFAULT_QUALITY
    clip: tuple[float, float] | None = None
    any_modality: bool = False

    def __post_init__(self) -> None:
        check_choice("--save", self.save, SAVE)
        if self.side < 0:
            raise ValueError(f"--side must be 0 (no limit) or the pixels of the short side, not {self.side}")
        if not 1 <= self.quality <= 95:
            raise ValueError(f"--quality must be 1 to 95, not {self.quality}")
        if self.clip is not None and not 0 <= self.clip[0] < self.clip[1] <= 100:
            low, high = self.clip
            raise ValueError(f"--clip must be two percentiles, 0 <= low < high <= 100, not {low:g} {high:g}")
        if self.keeps_file and (self.side or self.clip or self.any_modality):
            raise ValueError(
                f"--save {self.save} keeps the files unchanged: leave --side, --clip and --any-modality out"
            )

    @property
    def options(self) -> dict[str, Any]:
        """Its values for the record of a data folder; `any_modality` only if it is on, as older folders lack it."""
        return {name: value for name, value in asdict(self).items() if name != "any_modality" or value}

    @property
    def keeps_file(self) -> bool:
        """Whether the file of the download itself is kept."""
        return self.save in ("copy", "link")

    def suffix(self, source: str) -> str:
        """Return the suffix of the kept file for a source with this name."""
        return PurePosixPath(source).suffix.lower() if self.keeps_file else {"png": ".png", "jpeg": ".jpg"}[self.save]


@dataclass(frozen=True)
class Rendered:
    """A converted image.

    Attributes:
        content: content of the file; None for a link to the source.
        width, height: its pixels.
        source_sha256, sha256: SHA-256 of the source and of the file.
        view: view position of a DICOM header, or an empty text.
        steps: processing steps in order.
    """

    content: bytes | None
    width: int
    height: int
    source_sha256: str
    sha256: str
    view: str = ""
    steps: tuple[str, ...] = ()


def render(name: str, content: bytes, rendering: Rendering) -> Rendered:
    """Read an image whole and convert it.

    Args:
        name: name of the source in error messages.
        content: content of a PNG, JPEG, TIFF or DICOM file, or another format that Pillow reads, with 8 or 16 bits.
        rendering: format of the result.

    Raises:
        ValueError: if it is empty, truncated, no image, or has too many pixels.
    """
    stream = io.BytesIO(content)
    view, steps = "", list[str]()
    if is_dicom(content[:132]) or name.lower().endswith(DICOM_SUFFIXES):
        radiograph = read_dicom(name, stream, rendering.clip, rendering.any_modality)
        picture, view, steps = radiograph.image, radiograph.view, list(radiograph.steps)
    else:
        picture = load_image(name, stream).convert("L")
    if rendering.keeps_file:
        sha256 = hashlib.sha256(content).hexdigest()
        kept = content if rendering.save == "copy" else None
        return Rendered(kept, picture.width, picture.height, sha256, sha256, view)
    size = _size(picture.size, rendering.side)
    if size != picture.size:
        steps.append(_resized(picture.size, size))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return _encoded(content, picture, rendering.save, rendering.quality, view, steps)


def shrink(name: str, content: bytes, side: int) -> Rendered:
    """Convert an image to a small 8-bit gray JPEG, fast.

    A JPEG is decoded at 1/1, 1/2, 1/4 or 1/8 of its size, the smallest that leaves twice the short side, and then
    resized with antialiasing.

    Args:
        name: name of the source in error messages.
        content: content of its file.
        side: maximum pixels of the short side, the aspect kept; the image is never enlarged.

    Raises:
        ValueError: as `render`.
    """
    picture, before = _decode_reduced(content, side)
    if picture is None:
        picture = load_image(name, io.BytesIO(content)).convert("L")
        before = picture.size
    size = _size(before, side)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return _encoded(content, picture, "jpeg", DEFAULT_QUALITY, "", [_resized(before, size)])


def _decode_reduced(content: bytes, side: int) -> tuple[Image.Image | None, tuple[int, int]]:
    """Return a JPEG's gray values at a reduced size, and its full size; (None, (0, 0)) if it cannot be read."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            before = image.size
            check_size("", *before)
            width, height = _size(before, side)
            image.draft("L", (2 * width, 2 * height))
            image.load()
            return image.convert("L"), before
    except Exception:  # Pillow raises many types; `load_image` reads other formats and explains what is wrong
        pass
    return None, (0, 0)


def _size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the size with a short side of `side`; the same size if it is not larger, or `side` is 0."""
    short = min(size)
    if side == 0 or short <= side:
        return size
    width, height = (max(1, round(pixels * side / short)) for pixels in size)
    return width, height


def _resized(before: tuple[int, int], after: tuple[int, int]) -> str:
    return f"{before[0]} x {before[1]} to {after[0]} x {after[1]}"


def _encoded(source: bytes, picture: Image.Image, save: str, quality: int, view: str, steps: list[str]) -> Rendered:
    file = io.BytesIO()
    if save == "jpeg":
        picture.save(file, "jpeg", quality=quality)
    else:
        picture.save(file, "png")
    kept = file.getvalue()
    source_sha256, sha256 = (hashlib.sha256(content).hexdigest() for content in (source, kept))
    return Rendered(kept, picture.width, picture.height, source_sha256, sha256, view, tuple(steps))

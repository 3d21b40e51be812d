"""From a picture of a download to the file that lies in the data folder."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from r2cmn.data.dicom import SUFFIXES as DICOM_SUFFIXES
from r2cmn.data.dicom import is_dicom, read_dicom
from r2cmn.data.images import MAX_PIXELS, load_image

SAVE = ("png", "jpeg", "copy", "link")
DEFAULT_SIDE = 512


@dataclass(frozen=True)
class Rendering:
    """How pictures are kept.

    Attributes:
        save: png or jpeg, 8-bit gray; copy or link: the file as it is, once it was read whole.
        side: pixels of the short side at most, the aspect kept; 0 for as many as there are. A picture is never
            enlarged. Must be 0 for copy and link.
        quality: of JPEG, 1 to 95.
        clip: two percentiles of a DICOM file's values that become black and white; None for its own window.

    Raises:
        ValueError: for an impossible value.
    """

    save: str = "png"
    side: int = DEFAULT_SIDE
    quality: int = 95
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.save not in SAVE:
            raise ValueError(f"--save is one of {', '.join(SAVE)}, not '{self.save}'")
        if self.side < 0:
            raise ValueError(f"--side is {self.side}: pixels of the short side, or 0 for as many as there are")
        if not 1 <= self.quality <= 95:
            raise ValueError(f"--quality is {self.quality}: of JPEG, 1 to 95")
        if self.clip is not None and not 0 <= self.clip[0] < self.clip[1] <= 100:
            raise ValueError(f"--clip is {self.clip[0]:g} {self.clip[1]:g}: two percentiles, 0 <= low < high <= 100")
        if self.keeps_file and (self.side or self.clip):
            raise ValueError(f"--save {self.save} keeps the files as they are: leave --side and --clip out")

    @property
    def keeps_file(self) -> bool:
        """Whether the file of the download itself is kept."""
        return self.save in ("copy", "link")

    def suffix(self, source: str) -> str:
        """Return how the name of the file that is kept ends, of a source of this name."""
        return PurePosixPath(source).suffix.lower() if self.keeps_file else {"png": ".png", "jpeg": ".jpg"}[self.save]


@dataclass(frozen=True)
class Rendered:
    """A picture as it is kept, and where it comes from.

    Attributes:
        content: the bytes of the file.
        width, height: its pixels.
        source_sha256, sha256: of the source and of `content`, in hexadecimal.
        view: what a DICOM header says, or an empty text.
        steps: what was done, in order.
    """

    content: bytes
    width: int
    height: int
    source_sha256: str
    sha256: str
    view: str
    steps: tuple[str, ...]


def render(name: str, content: bytes, rendering: Rendering) -> Rendered:
    """Read a picture whole and make of it what is kept.

    Args:
        name: what to call it in an error.
        content: the bytes of its file: PNG, JPEG, TIFF, DICOM and what else Pillow reads, 8 or 16 bits.
        rendering: how it is kept.

    Raises:
        ValueError: where it is empty, cut short, no picture, or has more pixels than `MAX_PIXELS`.
    """
    source_sha256 = hashlib.sha256(content).hexdigest()
    picture, view, steps = _read(name, content, rendering)
    if rendering.keeps_file:
        return Rendered(content, picture.width, picture.height, source_sha256, source_sha256, view, ())
    smaller = _size(picture.size, rendering.side)
    if smaller != picture.size:
        steps = (*steps, f"{picture.width} x {picture.height} to {smaller[0]} x {smaller[1]}")
        picture = picture.resize(smaller, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    if rendering.save == "jpeg":
        picture.save(file, "jpeg", quality=rendering.quality)
    else:
        picture.save(file, "png")
    kept = file.getvalue()
    sha256 = hashlib.sha256(kept).hexdigest()
    return Rendered(kept, picture.width, picture.height, source_sha256, sha256, view, steps)


def _read(name: str, content: bytes, rendering: Rendering) -> tuple[Image.Image, str, tuple[str, ...]]:
    """Return the picture in 8-bit gray, the view that its header names, and what was done to the values."""
    stream = io.BytesIO(content)
    if is_dicom(content[:132]) or name.lower().endswith(DICOM_SUFFIXES):
        radiograph = read_dicom(name, stream, rendering.clip, MAX_PIXELS)
        return radiograph.image, radiograph.view, radiograph.steps
    return load_image(name, stream).convert("L"), "", ()


def _size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the size with a short side of `side`, or the same one where it is not larger, or `side` is 0."""
    short = min(size)
    if side == 0 or short <= side:
        return size
    width, height = (max(1, round(pixels * side / short)) for pixels in size)
    return width, height

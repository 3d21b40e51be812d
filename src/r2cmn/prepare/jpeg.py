"""Large radiographs to small ones, as fast as the JPEG format allows."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from r2cmn.prepare.parallel import Result

MAX_PIXELS = 89_478_485
"""Pixels of an image at most; as in `r2cmn.data.images`, which loads torch and is therefore not imported here."""


@dataclass(frozen=True)
class GrayscaleJPEG:
    """Writes an image as an 8-bit grayscale JPEG with a given short side, its aspect kept.

    A JPEG is decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 of its size that leaves twice the short side, which
    spares most of the work, and then resized with antialiasing. An image that is smaller is not enlarged.

    Attributes:
        side: pixels of the short side at most.
        quality: of the JPEG, 1 to 95.

    Raises:
        ValueError: for an impossible value.
    """

    side: int
    quality: int = 95

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"--side is {self.side}: pixels of the short side, at least 1")
        if not 1 <= self.quality <= 95:
            raise ValueError(f"--quality is {self.quality}: of JPEG, 1 to 95")

    def __call__(self, source: Path) -> Result:
        """Return the small image, and of it [width, height, SHA-256 of the source, its own, width and height before].

        Raises:
            ValueError: where the file is empty, truncated, no image or too large, naming it.
            OSError: where it cannot be read.
        """
        content = source.read_bytes()
        try:
            small, before = self._shrink(content)
        except Image.UnidentifiedImageError:
            raise ValueError(f"{source} {'is not an image of a known format' if content else 'is empty'}") from None
        except (Image.DecompressionBombError, _TooLargeError):
            raise ValueError(f"{source} has more than {MAX_PIXELS:,} pixels") from None
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError and others
            raise ValueError(f"{source} cannot be read whole: {error}") from None
        file = io.BytesIO()
        small.save(file, "JPEG", quality=self.quality)
        kept = file.getvalue()
        hashes = (hashlib.sha256(data).hexdigest() for data in (content, kept))
        return Result(kept, [*small.size, *hashes, *before])

    def _shrink(self, content: bytes) -> tuple[Image.Image, tuple[int, int]]:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _TooLargeError
            before, size = image.size, self._size(*image.size)
            image.draft("L", (2 * size[0], 2 * size[1]))
            image.load()
            gray = image.convert("L")
            return gray if gray.size == size else gray.resize(size, Image.Resampling.BICUBIC), before

    def _size(self, width: int, height: int) -> tuple[int, int]:
        short = min(width, height)
        if short <= self.side:
            return width, height
        return max(1, round(width * self.side / short)), max(1, round(height * self.side / short))


class _TooLargeError(Exception):
    pass

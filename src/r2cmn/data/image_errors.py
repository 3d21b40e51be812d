"""Errors of image files, in the same words for all formats."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from r2cmn.files.limits import MAX_ASPECT, MAX_PIXELS
from r2cmn.files.words import first_line


class ImageError(ValueError):
    """A file is not a complete image."""


def check_size(name: str | Path, width: int, height: int) -> None:
    """Check the size of an image before it is decoded or resized.

    Raises:
        ImageError: if it has more than `MAX_PIXELS` pixels, or one side is more than `MAX_ASPECT` times the other, so
            that it would have too many when its short side is resized.
    """
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{name} has {width} x {height} pixels: one side is more than {MAX_ASPECT} times the other")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} has {width} x {height} pixels, more than {MAX_PIXELS:,}")


def no_image(name: str | Path) -> str:
    """Return one line for an image that does not exist."""
    return f"there is no image at {name}" + (": write / between folders, not \\" if "\\" in str(name) else "")


def read_fault(name: str | Path, error: Exception) -> str:
    """Return one line that says why an image cannot be read."""
    if isinstance(error, FileNotFoundError):
        return no_image(name)
    if isinstance(error, Image.DecompressionBombError):
        return f"{name} has more than {MAX_PIXELS:,} pixels"
    reason = getattr(error, "strerror", None) or first_line(error)
    return f"{name} cannot be read whole: {reason}"

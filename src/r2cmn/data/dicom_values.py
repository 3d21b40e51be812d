"""The grayscale pipeline of DICOM PS3.4 N.2: from the stored values of a file and its tags to an 8-bit image."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

OVERLAYS = [0x60000102 + 0x20000 * number for number in range(16)]  # Overlay Bit Position of each group


@dataclass(frozen=True)
class Radiograph:
    """An image from a DICOM file.

    Attributes:
        image: 8-bit gray; air is black.
        steps: the operations on the stored values, in order.
        view: the header's View Position, such as PA or LL, or "". Often missing or wrong.
    """

    image: Image.Image
    steps: tuple[str, ...]
    view: str


def cleared(header: Any, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the stored values without their unused bits, and the mask of padding pixels.

    Raises:
        ValueError: if values need more than BitsStored bits, and these are not the bits of an overlay.
    """
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    unused = 8 * stored.dtype.itemsize - int(header.BitsStored)
    padding = _padding(header, stored)
    if unused <= 0:
        return stored, padding
    unsigned = stored.view(f"u{stored.dtype.itemsize}")
    above = unsigned >> int(header.BitsStored)
    is_extended = (above == 2**unused - 1) & (stored < 0)  # the sign of a negative value
    if np.any((above != 0) & ~is_extended & ~padding) and not any(first_number(header, tag) for tag in OVERLAYS):
        raise ValueError(f"values need more bits than its BitsStored, {header.BitsStored}")
    cleared = np.right_shift(np.left_shift(stored, unused), unused)
    return cleared, padding | _padding(header, cleared)


def rendered(header: Any, stored: np.ndarray, padding: np.ndarray, clip: tuple[float, float] | None) -> Radiograph:
    """Apply the pipeline to stored values with a mask of padding; see `r2cmn.data.dicom.read_dicom`."""
    steps = []
    values: np.ndarray = stored
    slope, intercept = first_number(header, "RescaleSlope"), first_number(header, "RescaleIntercept")
    if table := _table(header, "ModalityLUTSequence", values):
        values = _looked_up(values, *table)
        steps.append("modality LUT")
    elif slope is not None or intercept is not None:
        slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
        if slope == 0:
            raise ValueError("RescaleSlope is 0")
        values = values * slope + intercept
        steps.append(f"rescale {slope:g} {intercept:g}")
    shares, step = _values_of_interest(header, values, padding)
    steps.append(step)
    if first_word(header, "PhotometricInterpretation") == "MONOCHROME1":
        shares = 1 - shares
        steps.append("invert")
    if clip is not None:
        shares = _stretch(shares, *np.percentile(shares[~padding] if not padding.all() else shares, clip))
        steps.append(f"clip {clip[0]:g} {clip[1]:g}")
    shares[padding] = 0
    pixels = np.round(shares * 255).astype(np.uint8)
    return Radiograph(Image.fromarray(pixels), (*steps, "8 bits"), first_word(header, "ViewPosition"))


def _padding(header: Any, stored: np.ndarray) -> np.ndarray:
    """Return the mask of padding pixels, by PS3.3 C.7.5.1.1.2."""
    value = first_number(header, "PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = first_number(header, "PixelPaddingRangeLimit")
    least, count = np.iinfo(stored.dtype).min, 2 ** (8 * stored.dtype.itemsize)
    # a file may have the same 16 bits as a signed and as an unsigned number
    low, high = sorted((int(end) - least) % count + least for end in (value, value if limit is None else limit))
    return (stored >= low) & (stored <= high)


def _values_of_interest(header: Any, values: np.ndarray, padding: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the values as fractions of the displayed range, 0 to 1, and the name of the step."""
    if table := _table(header, "VOILUTSequence", values):
        return _stretch(_looked_up(values, *table), table[0].min(), table[0].max()), "VOI LUT"
    center, width = first_number(header, "WindowCenter"), first_number(header, "WindowWidth")
    function = first_word(header, "VOILUTFunction") or "LINEAR"
    if center is not None and width is not None and width >= 1 - (function != "LINEAR") and width > 0:
        return _window(values.astype(np.float64), center, width, function), f"window {center:g} {width:g}"
    inside = values[~padding] if not padding.all() else values
    ignored = "" if width is None else f" (a window of width {width:g} is not valid)"
    return _stretch(values, inside.min(), inside.max()), f"lowest to highest value{ignored}"


def _table(header: Any, tag: str, values: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return the entries of the first lookup table that is not empty and the value of its first entry, or None.

    Raises:
        ValueError: if it has fewer entries than its descriptor says, or none of them is of the values.
    """
    item = next((i for i in header.get(tag) or () if i.get("LUTDescriptor") and i.get("LUTData")), None)
    if item is None:
        return None
    number, first, bits = (int(value) for value in item.LUTDescriptor)
    number, first = number % 2**16 or 2**16, first % 2**16
    if isinstance(item.LUTData, bytes):
        order = ">" if header.original_encoding[1] is False else "<"
        words = np.frombuffer(item.LUTData[: len(item.LUTData) // 2 * 2], f"{order}u2").astype("<u2")
    else:
        words = np.atleast_1d(np.asarray(item.LUTData)).astype("<u2")
    # entries of 8 bits may be packed two to a word
    entries = words.view(np.uint8) if bits <= 8 and len(words) < number else words
    if len(entries) < number:
        raise ValueError(f"the {tag} has {len(entries)} of {number} entries")
    # the standard leaves open whether the first value is signed: the one at which the table meets the values
    low, high = float(values.min()), float(values.max())
    starts = (first, first - 2**16) if first >= 2**15 else (first,)
    met, first = max((min(high, start + number - 1) - max(low, start), start) for start in starts)
    if met < 0:
        raise ValueError(f"the {tag} has entries for none of the values, {low:g} to {high:g}")
    return entries[:number].astype(np.int64), first


def _looked_up(values: np.ndarray, entries: np.ndarray, first: int) -> np.ndarray:
    # not pydicom's functions: they keep positions in the type of the entries, and read no table of 12 bits
    return entries[np.clip(np.rint(values).astype(np.int64) - first, 0, len(entries) - 1)]


def _window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Return fractions, 0 to 1, by PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID) and C.11.2.1.3.2 (EXACT).

    pydicom.pixels.apply_windowing is not used: it inverts the image if the rescale slope is negative.
    """
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise ValueError(f"the function {function} is unknown")
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _one(header: Any, tag: str | int) -> Any:
    """Return the value of a tag, the first of several; None if it is missing or empty."""
    element = header.get(tag)
    value = getattr(element, "value", element) if isinstance(tag, int) else element
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = value[0] if value else None
    return None if value == "" else value


def first_number(header: Any, tag: str | int) -> float | None:
    """Return the first number of a tag; None if it is missing or empty.

    Raises:
        ValueError: if it is no finite number.
    """
    value = _one(header, tag)
    if value is not None and not math.isfinite(float(value)):
        raise ValueError(f"{tag} is not finite")
    return None if value is None else float(value)


def first_word(header: Any, tag: str) -> str:
    """Return the first word of a tag in capitals; "" if it is missing, empty or no code string.

    What else a damaged file has in its place may be the name of the patient, and is neither kept nor printed.
    """
    value = str(_one(header, tag) or "").strip().upper()
    return value if re.fullmatch(r"[A-Z0-9_ ]{1,16}", value) else ""


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return (values - low) / (high - low) in float64, clipped to 0 and 1; all 0 if the range is empty."""
    if high <= low:
        return np.zeros(values.shape)
    return np.clip((values.astype(np.float64) - low) / (float(high) - float(low)), 0, 1)

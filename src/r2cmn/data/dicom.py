"""Converts DICOM radiographs to 8-bit images by the grayscale pipeline of DICOM PS3.4 N.2.

Only the tags that it needs are read. None of them identifies a patient, so none can be stored or printed. pydicom is
installed by `pip install 'r2cmn[dicom]'`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from r2cmn.data.image_errors import ImageError, check_size, read_fault
from r2cmn.files import load_optional

SUFFIXES = (".dcm", ".dicom")
MODALITIES = {"CR": "computed radiography", "DX": "digital radiography", "RG": "radiographic imaging"}

_PIXELS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
           "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "PixelData")  # fmt: skip
_VALUES = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth",
           "VOILUTFunction", "PixelPaddingValue", "PixelPaddingRangeLimit")  # fmt: skip
_TAGS = ["Modality", "ViewPosition", *_PIXELS, *_VALUES]
_PLUGINS = {"JPEG 2000": "pylibjpeg pylibjpeg-openjpeg", "High-Throughput": "pylibjpeg pylibjpeg-openjpeg",
            "JPEG": "pylibjpeg pylibjpeg-libjpeg", "RLE": "pylibjpeg pylibjpeg-rle"}  # fmt: skip


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


def is_dicom(head: bytes) -> bool:
    """Whether a file with these first bytes (at least 132) is a DICOM file."""
    return head[128:132] == b"DICM"


def read_dicom(
    name: str | Path,
    stream: BinaryIO | None = None,
    clip: tuple[float, float] | None = None,
) -> Radiograph:
    """Read a radiograph: rescale, apply the VOI LUT or else the window, invert MONOCHROME1, clip, convert to 8 bits.

    If the file has neither a VOI LUT nor a window, its lowest and highest value become 0 and 255. Padding is black.

    Args:
        name: the file; if `stream` is given, only its name in error messages.
        stream: a file object to read instead.
        clip: two percentiles, 0 to 100, that become 0 and 255 at the end; (0.5, 99.5) drops labels and metal.

    Raises:
        ImageError: if pydicom or a decoder is missing, the file is truncated or not a DICOM file, or it has several
            frames, colors, too many pixels or another modality than CR, DX and RG.
        ValueError: if the percentiles are invalid.
    """
    if clip is not None and not 0 <= clip[0] < clip[1] <= 100:
        raise ValueError(f"clip is {clip[0]:g}, {clip[1]:g}: two percentiles, 0 <= low < high <= 100")
    header = _read_tags(name, stream)
    _check(name, header)
    stored = _stored_values(name, header)
    try:
        return _rendered(header, stored, clip)
    except Exception as error:  # pydicom parses numbers, or fails to, at the first access
        raise ImageError(f"{name} has a rescale, LUT or window that cannot be applied: {error}") from None


def _read_tags(name: str | Path, stream: BinaryIO | None) -> Any:
    try:
        pydicom = load_optional("pydicom", f"{name} is a DICOM file and", "dicom")
    except ValueError as error:
        raise ImageError(str(error)) from None
    try:
        return pydicom.dcmread(stream if stream is not None else name, specific_tags=_TAGS)
    except pydicom.errors.InvalidDicomError:
        raise ImageError(f"{name} is not a DICOM file: it lacks the marker DICM") from None
    except Exception as error:  # a truncated file raises EOFError, ValueError, struct.error and others
        raise ImageError(read_fault(name, error)) from None


def _check(name: str | Path, header: Any) -> None:
    modality = header.get("Modality", "")
    if modality not in MODALITIES:
        raise ImageError(f"{name} is of modality '{modality}', not a radiograph ({', '.join(MODALITIES)})")
    missing = [tag for tag in ("Rows", "Columns", "PixelData", "PhotometricInterpretation") if tag not in header]
    if missing:
        raise ImageError(f"{name} holds no image: it lacks {missing[0]}")
    frames = header.get("NumberOfFrames") or 1
    if int(frames) != 1:
        raise ImageError(f"{name} has {frames} frames: save one of them as a file of its own")
    if header.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(f"{name} holds colors ({header.PhotometricInterpretation}), not the gray values of an X-ray")
    check_size(name, header.Columns, header.Rows)


def _stored_values(name: str | Path, header: Any) -> np.ndarray:
    try:
        return np.asarray(header.pixel_array)
    except Exception as error:  # of pydicom or a decoder
        syntax = header.file_meta.get("TransferSyntaxUID")
        if syntax is not None and syntax.is_compressed and "missing dependencies" in str(error):
            plugin = next(p for key, p in {**_PLUGINS, "": "pylibjpeg"}.items() if key in syntax.name)
            raise ImageError(f"{name} is compressed ({syntax.name}): pip install {plugin}") from None
        raise ImageError(read_fault(name, error)) from None


def _rendered(header: Any, stored: np.ndarray, clip: tuple[float, float] | None) -> Radiograph:
    steps = []
    padding = _padding(header, stored)
    values = load_optional("pydicom.pixels", "a DICOM file", "dicom").apply_modality_lut(stored, header)
    if "ModalityLUTSequence" in header:
        steps.append("modality LUT")
    elif "RescaleSlope" in header:
        steps.append(f"rescale {float(header.RescaleSlope):g} {float(header.get('RescaleIntercept', 0)):g}")
    shares, step = _values_of_interest(header, values, padding)
    steps.append(step)
    if header.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
        steps.append("invert")
    if clip is not None:
        shares = _stretch(shares, *np.percentile(shares[~padding] if not padding.all() else shares, clip))
        steps.append(f"clip {clip[0]:g} {clip[1]:g}")
    shares[padding] = 0
    pixels = np.round(shares * 255).astype(np.uint8)
    return Radiograph(Image.fromarray(pixels), (*steps, "8 bits"), str(header.get("ViewPosition") or ""))


def _padding(header: Any, stored: np.ndarray) -> np.ndarray:
    """Return the mask of padding pixels, by PS3.3 C.7.5.1.1.2."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = header.get("PixelPaddingRangeLimit", value)
    low, high = sorted((int(value), int(limit)))
    return (stored >= low) & (stored <= high)


def _values_of_interest(header: Any, values: np.ndarray, padding: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the values as fractions of the displayed range, 0 to 1, and the name of the step."""
    if header.get("VOILUTSequence"):
        entries, first = _table(header.VOILUTSequence[0])
        # pydicom.pixels.apply_voi keeps positions in the type of the entries, and 12 bits do not fit into 8
        positions = np.clip(np.rint(values).astype(np.int64) - first, 0, len(entries) - 1)
        return _stretch(entries[positions], entries.min(), entries.max()), "VOI LUT"
    if header.get("WindowWidth") not in (None, "") and header.get("WindowCenter") not in (None, ""):
        center, width = _first(header.WindowCenter), _first(header.WindowWidth)
        shares = _window(values.astype(np.float64), center, width, str(header.get("VOILUTFunction") or "LINEAR"))
        return shares, f"window {center:g} {width:g}"
    inside = values[~padding] if not padding.all() else values
    return _stretch(values, inside.min(), inside.max()), "lowest to highest value"


def _table(item: Any) -> tuple[np.ndarray, int]:
    """Return the entries of a lookup table and the value of the first entry."""
    number = int(item.LUTDescriptor[0]) or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        entries = np.frombuffer(data, dtype=np.uint8 if len(data) < 2 * number else "<u2")[:number]
    else:
        entries = np.asarray(data)
    return entries.astype(np.int64), int(item.LUTDescriptor[1])


def _window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Return fractions, 0 to 1, by PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID) and C.11.2.1.3.2 (EXACT).

    pydicom.pixels.apply_windowing is not used: it inverts the image if the rescale slope is negative.
    """
    if function == "SIGMOID":
        if width <= 0:
            raise ValueError(f"the width is {width:g}")
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise ValueError(f"the function {function} is unknown")
    if width < 0 or (width == 0 and function != "LINEAR"):
        raise ValueError("the width is too small")
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _first(value: Any) -> float:
    try:
        return float(value)
    except TypeError:  # several windows: take the first
        return float(value[0])


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return (values - low) / (high - low) in float64, clipped to 0 and 1; all 0 if the range is empty."""
    if high <= low:
        return np.zeros(values.shape)
    return np.clip((values.astype(np.float64) - low) / (float(high) - float(low)), 0, 1)

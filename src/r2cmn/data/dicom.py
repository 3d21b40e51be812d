"""Reads DICOM radiographs as 8-bit images.

Only the tags that it needs are read. None of them identifies a patient, so none can be stored or printed. pydicom is
installed by `pip install 'r2cmn[dicom]'`.
"""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from r2cmn.data.dicom_values import OVERLAYS, Radiograph, cleared, first_number, first_word, rendered
from r2cmn.data.image_errors import ImageError, check_size, read_fault
from r2cmn.files import load_optional
from r2cmn.files.words import first_line

SUFFIXES = (".dcm", ".dicom")
MODALITIES = ("CR", "DX", "RG", "DR")
"""Computed, digital and film radiography; DR is no term of the standard, but many systems write it for DX."""

_PIXELS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
           "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "PixelData")  # fmt: skip
_VALUES = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth",
           "VOILUTFunction", "PixelPaddingValue", "PixelPaddingRangeLimit")  # fmt: skip
_TAGS = ["Modality", "ViewPosition", *_PIXELS, *_VALUES, *OVERLAYS]
_PLUGINS = {"JPEG 2000": "pylibjpeg pylibjpeg-openjpeg", "High-Throughput": "pylibjpeg pylibjpeg-openjpeg",
            "JPEG": "pylibjpeg pylibjpeg-libjpeg", "RLE": "pylibjpeg pylibjpeg-rle"}  # fmt: skip


def is_dicom(head: bytes) -> bool:
    """Whether a file with these first bytes (at least 132) is a DICOM file."""
    return head[128:132] == b"DICM"


def read_dicom(
    name: str | Path,
    stream: BinaryIO | None = None,
    clip: tuple[float, float] | None = None,
    any_modality: bool = False,
) -> Radiograph:
    """Read a radiograph: rescale, apply the VOI LUT or else the window, invert MONOCHROME1, clip, convert to 8 bits.

    If the file has neither a VOI LUT nor a valid window, its lowest and highest value become 0 and 255. Padding is
    black. Tags without a value count as missing; of several values the first counts.

    Args:
        name: the file; if `stream` is given, only its name in error messages.
        stream: a file object to read instead.
        clip: two percentiles, 0 to 100, that become 0 and 255 at the end; (0.5, 99.5) drops labels and metal.
        any_modality: read images of other modalities than radiography, and those that name none.

    Raises:
        ImageError: if pydicom or a decoder is missing, the file is truncated or not a DICOM file, its tags contradict
            its pixels, or it has several frames, colors, too many pixels or another modality.
        ValueError: if the percentiles are invalid.
    """
    if clip is not None and not 0 <= clip[0] < clip[1] <= 100:
        raise ValueError(f"clip is {clip[0]:g}, {clip[1]:g}: two percentiles, 0 <= low < high <= 100")
    try:
        header = _read_tags(name, stream)
        _check(name, header, any_modality)
        stored = _stored_values(name, header)
        return rendered(header, *cleared(header, stored), clip)
    except ImageError:
        raise
    except Exception as error:  # pydicom parses values, or fails to, at the first access
        reason = first_line(_without_values(error))
        raise ImageError(f"{name} has a tag, rescale, LUT or window that cannot be applied: {reason}") from None


def _without_values(error: Exception) -> Exception:
    """Drop the quoted values from a message of pydicom: if a length is damaged, one may hold the patient's name."""
    if isinstance(error, OSError):
        return error
    return ValueError(re.split(r"b?['\"]", str(error), maxsplit=1)[0].strip(" :(") or type(error).__name__)


def _read_tags(name: str | Path, stream: BinaryIO | None) -> Any:
    try:
        pydicom = load_optional("pydicom", f"{name} is a DICOM file and", "dicom")
    except ValueError as error:
        raise ImageError(str(error)) from None
    # what it logs of a damaged value shows the bytes that follow, which may be the patient's name
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
    try:
        return pydicom.dcmread(stream if stream is not None else name, specific_tags=_TAGS)
    except pydicom.errors.InvalidDicomError:
        raise ImageError(f"{name} is not a DICOM file: it lacks the marker DICM") from None
    except Exception as error:  # a truncated file raises EOFError, ValueError, struct.error and others
        raise ImageError(read_fault(name, _without_values(error))) from None


def _check(name: str | Path, header: Any, any_modality: bool) -> None:
    modality, photometric = first_word(header, "Modality"), first_word(header, "PhotometricInterpretation")
    if modality not in MODALITIES and not any_modality:
        found = f"is of modality '{modality}', not a radiograph ({', '.join(MODALITIES)})" if modality else (
            "names no modality, which de-identification may have removed")  # fmt: skip
        raise ImageError(f"{name} {found}: r2cmn prepare and r2cmn generate read it with --any-modality")
    wanted = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelData", "PhotometricInterpretation")
    missing = [tag for tag in wanted if header.get(tag) in (None, "", b"")]
    if missing:
        raise ImageError(f"{name} holds no image: it lacks {missing[0]}")
    frames = first_number(header, "NumberOfFrames") or 1
    if frames != 1:
        raise ImageError(f"{name} has {frames:g} frames: save one of them as a file of its own")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(f"{name} holds colors ({photometric}), not the gray values of an X-ray")
    stored, high = int(header.BitsStored), first_number(header, "HighBit")
    if high not in (None, stored - 1):
        raise ImageError(f"{name} has {stored} bits a pixel and HighBit {high:g}, not {stored - 1}: its values are "
                         "shifted, or one of the two is wrong")  # fmt: skip
    check_size(name, int(header.Columns), int(header.Rows))


def _stored_values(name: str | Path, header: Any) -> np.ndarray:
    try:
        header.pixel_array_options(correct_unused_bits=False)
        return np.asarray(header.pixel_array)
    except Exception as error:  # of pydicom or a decoder
        syntax = header.file_meta.get("TransferSyntaxUID")
        if syntax is not None and syntax.is_compressed and "missing dependencies" in str(error):
            plugin = next(p for key, p in {**_PLUGINS, "": "pylibjpeg"}.items() if key in syntax.name)
            raise ImageError(f"{name} is compressed ({syntax.name}): pip install {plugin}") from None
        raise ImageError(read_fault(name, _without_values(error))) from None

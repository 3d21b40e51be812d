"""Speed of the image conversion of `r2cmn prepare iu-xray` and `folder`, and the size of the result; drawn images.

python benchmarks/prepare_images.py
"""

from __future__ import annotations

import io
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from r2cmn.prepare.archives import RawFile
from r2cmn.prepare.convert import Picture, convert
from r2cmn.prepare.folder import DataFolder
from r2cmn.prepare.images import Rendering, render


def drawn(height: int, width: int, top: int) -> np.ndarray:
    """A smooth picture with the noise of a detector, 0 to `top`."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = (np.sin(x / 90) + np.cos(y / 70) + 2) / 4 * top * 0.9
    return np.clip(smooth + np.random.default_rng(0).normal(0, top / 100, (height, width)), 0, top)


def png(height: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(drawn(height, width, 255).astype(np.uint8)).save(file, "png")
    return file.getvalue()


def dicom(height: int, width: int) -> bytes:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.Modality, header.PhotometricInterpretation, header.SamplesPerPixel = "DX", "MONOCHROME1", 1
    header.Rows, header.Columns, header.PixelRepresentation = height, width, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.WindowCenter, header.WindowWidth = 2048, 4096
    header.PixelData = drawn(height, width, 4095).astype(np.uint16).tobytes()
    file = io.BytesIO()
    header.save_as(file, enforce_file_format=True)
    return file.getvalue()


def main() -> None:
    for what, content, number in [
        ("PNG, 512 x 620", png(620, 512), 300),
        ("PNG, 2048 x 2500", png(2500, 2048), 60),
        ("DICOM, 2048 x 2500, 12 bits", dicom(2500, 2048), 40),
    ]:
        with tempfile.TemporaryDirectory() as out:
            files = [RawFile(f"{n}", lambda content=content: content) for n in range(number)]
            wall, core = time.perf_counter(), time.process_time()
            pictures = (Picture(file.name, f"{file.name}/0.png", file) for file in files)
            done = convert(DataFolder(Path(out), {}), pictures, partial(render, rendering=Rendering()), number)
            wall, core = time.perf_counter() - wall, time.process_time() - core
            assert not done.faults, done.faults
            kept = sum(path.stat().st_size for path in Path(out).rglob("*.png")) / number
            rates = f"{number / core:.1f} a second of one core, {number / wall:.1f} a second"
            print(f"{what}: {rates}, {kept / 1e3:.0f} kB kept")


if __name__ == "__main__":
    main()

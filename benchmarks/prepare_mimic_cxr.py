"""Rate of `r2cmn prepare mimic-cxr`: `python -m benchmarks.prepare_mimic_cxr [--side 512] [--workers N]`.

Draws gray JPEGs of 2500 x 3000 pixels and 1.6 MB (MIMIC-CXR-JPG: 570 GB in 377,110 files, 1.5 MB each), converts them
as the command does, and reads 227,835 invented reports from a zip. Everything is in a temporary folder. Processor
time is printed beside wall time, since it hardly depends on what else a machine does.
"""

import argparse
import resource
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from r2cmn.files import num_cores
from r2cmn.prepare.archives import RawFile
from r2cmn.prepare.convert import Picture, convert
from r2cmn.prepare.folder import DataFolder
from r2cmn.prepare.images import shrink
from r2cmn.prepare.mimic_cxr.reports import read_targets

NUM_IMAGES, NUM_STUDIES = 377_110, 227_835


def draw(folder: Path, number: int) -> list[Picture]:
    """Write a few different radiographs, and links to them up to `number`."""
    rows, columns = np.mgrid[0:3000, 0:2500].astype(np.float32)
    smooth = 128 + 80 * np.sin(rows / 400) * np.cos(columns / 500)
    pictures = []
    for i in range(number):
        path = folder / f"{i}.jpg"
        if i < 8:
            pixels = smooth + np.random.default_rng(i).normal(0, 2.2, smooth.shape)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=95)
        else:
            path.hardlink_to(folder / f"{i % 8}.jpg")
        pictures.append(Picture("", f"{i % 100}/{i}.jpg", RawFile(str(path), path.read_bytes, path)))
    return pictures


def zip_reports(path: Path) -> dict[int, int]:
    """Write as many reports as the collection has, of its mean length of about 900 characters; return the patients."""
    subjects = {50_000_000 + i: 10_000_000 + i // 4 for i in range(NUM_STUDIES)}
    text = " FINAL REPORT\n INDICATION: \n \n FINDINGS: \n \n" + " The lungs are clear of what was drawn.\n" * 20
    text += " \n IMPRESSION: \n \n Nothing new.\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for study, subject in subjects.items():
            archive.writestr(f"files/p{str(subject)[:2]}/p{subject}/s{study}.txt", text)
    return subjects


def processor_seconds() -> float:
    """Return the processor time of this process."""
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def main() -> None:
    """Print the rates and what they mean for the whole collection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--workers", type=int, default=num_cores())
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "raw"), Path(folder, "out")
        raw.mkdir()
        pictures = draw(raw, arguments.images)
        work = (pictures, partial(shrink, side=arguments.side), arguments.images, arguments.workers)
        start, cpu = time.perf_counter(), processor_seconds()
        convert(DataFolder(out, {}, private=True), *work)
        rate = arguments.images / (time.perf_counter() - start)
        cpu = (processor_seconds() - cpu) / arguments.images
        size = sum(path.stat().st_size for path in (out / "images").rglob("*.jpg")) / arguments.images
        read = sum(path.stat().st_size for path in raw.iterdir()) / arguments.images
        print(f"side {arguments.side}: {read / 1e6:.2f} MB read, {size / 1e3:.0f} kB written an image")
        print(f"{arguments.workers} threads: {rate:.1f} images/s, {NUM_IMAGES:,} in {NUM_IMAGES / rate / 3600:.1f} h")
        print(f"{cpu * 1e3:.0f} ms of a core an image: {1 / cpu:.1f} images/s a core, {NUM_IMAGES:,} images "
              f"{NUM_IMAGES * cpu / 3600:.1f} core hours, {NUM_IMAGES * size / 1e9:.0f} GB")  # fmt: skip
        start = time.perf_counter()
        convert(DataFolder(out, {}, private=True), *work)
        print(f"again, with all of them done: {time.perf_counter() - start:.2f} s")
        subjects = zip_reports(Path(folder, "reports.zip"))
        start, cpu = time.perf_counter(), processor_seconds()
        read_targets(Path(folder, "reports.zip"), subjects, "findings")
        print(
            f"{NUM_STUDIES:,} reports: {time.perf_counter() - start:.0f} s, {processor_seconds() - cpu:.0f} s of a core"
        )


if __name__ == "__main__":
    main()

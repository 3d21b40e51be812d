"""Index of images: measurements, and what is decoded again."""

import os
import sqlite3

import numpy as np
import pytest
from PIL import Image

from r2cmn.data import index
from r2cmn.data.index import ImageFacts, measure_images
from r2cmn.data.progress import Progress


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def paths(tmp_path):
    """A gray ramp, a constant color image and a 16-bit image."""
    pictures = {
        "ramp.png": Image.fromarray(np.arange(10, 210, dtype=np.uint8).reshape(10, 20)),
        "constant.png": Image.new("RGB", (8, 6), (90, 90, 90)),
        "deep.png": Image.fromarray(np.arange(0, 51_400, 257, dtype=np.uint16).reshape(20, 10)),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    return [tmp_path / name for name in pictures]


@pytest.fixture
def opened(monkeypatch):
    """The images that were decoded."""
    seen, load = [], index.load_image
    monkeypatch.setattr(index, "load_image", lambda path, **options: seen.append(path) or load(path))
    return seen


def test_measurements_and_reasons(paths, tmp_path, monkeypatch):
    torn, missing = tmp_path / "torn.png", tmp_path / "missing.png"
    torn.write_bytes(paths[0].read_bytes()[:-30])
    finished = []
    monkeypatch.setattr(Progress, "advance", lambda self, number, is_new=True: finished.append(number))
    facts, faults = measure_images([*paths, torn, missing])
    assert [facts[path][:5] for path in paths] == [
        (20, 10, "L", 10, 209), (8, 6, "RGB", 90, 90), (10, 20, "I;16", 0, 199)
    ]  # fmt: skip
    assert [facts[path].constant for path in paths] == [False, True, False]
    assert set(faults) == {torn, missing}
    assert "torn.png cannot be read whole" in faults[torn]
    assert faults[missing] == f"there is no image at {missing}"
    assert sum(finished) == 5


def test_dicom_files_are_measured(tmp_path, make_dicom):
    path = make_dicom(tmp_path / "a.dcm", np.arange(4095, dtype=np.uint16).reshape(45, 91))
    facts, faults = measure_images([path])
    assert faults == {}
    assert facts[path][:5] == (91, 45, "DICOM", 0, 255)


def test_only_new_changed_and_unreadable_images_are_decoded(paths, opened, tmp_path, monkeypatch):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    first, _ = measure_images([*paths, bad])
    opened.clear()
    finished = []
    monkeypatch.setattr(Progress, "advance", lambda self, number, is_new=True: finished.append(number))
    assert measure_images([*paths, bad])[0] == first
    assert opened == [bad]
    assert finished == [3, 1]
    opened.clear()
    os.utime(paths[1], ns=(1, 1))
    measure_images(paths)
    assert opened == [paths[1]]


@pytest.mark.parametrize("fault", ["a file in place of the folder", "no database", "another table", "locked"])
def test_images_are_decoded_if_the_index_cannot_be_used(paths, cache, opened, monkeypatch, fault):
    name = f"image_index_v{index._VERSION}.sqlite"
    if fault == "a file in place of the folder":
        cache.write_text("")
    else:
        cache.mkdir()
        if fault == "no database":
            (cache / name).write_bytes(b"no database" * 100)
    if fault in ("another table", "locked"):
        other = sqlite3.connect(cache / name)
        other.execute("CREATE TABLE images (key BLOB)")
        if fault == "locked":
            connect = sqlite3.connect
            monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.01))
            other.execute("BEGIN EXCLUSIVE")
        else:
            other.commit()
    for _ in range(2):
        facts, faults = measure_images(paths)
        assert (set(facts), faults) == (set(paths), {})
    assert len(opened) == 6


def test_the_index_names_no_file(paths, cache):
    measure_images(paths)
    (file,) = cache.iterdir()
    assert b"ramp" not in file.read_bytes()
    assert all(isinstance(found, ImageFacts) for found in measure_images(paths)[0].values())

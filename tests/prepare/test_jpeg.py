import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from r2cmn.prepare import jpeg
from r2cmn.prepare.jpeg import GrayscaleJPEG


def save(path, width, height, mode="L", **options):
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    pixels = (128 + 90 * np.sin(rows / 37) * np.cos(columns / 53)).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("size", "kept"),
    [((250, 300), (64, 77)), ((300, 250), (77, 64)), ((64, 90), (64, 90)), ((40, 90), (40, 90)), ((2, 600), (2, 600)),
     ((1000, 3000), (64, 192))],
)  # fmt: skip
def test_the_short_side_is_cut_the_aspect_kept_and_nothing_enlarged(tmp_path, size, kept):
    source = save(tmp_path / "a.jpg", *size)
    content, facts = GrayscaleJPEG(64)(source)
    with Image.open(io.BytesIO(content)) as image:
        assert (image.size, image.mode, image.format) == (kept, "L", "JPEG")
    hashes = [hashlib.sha256(data).hexdigest() for data in (source.read_bytes(), content)]
    assert facts == [*kept, *hashes, *size]


def test_decoding_at_less_than_full_size_looks_the_same(tmp_path):
    source = save(tmp_path / "a.jpg", 1200, 1500, quality=95)
    content, _ = GrayscaleJPEG(128)(source)
    whole = Image.open(source).resize((128, 160), Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(whole, float) - np.asarray(Image.open(io.BytesIO(content)), float))
    assert difference.mean() < 0.6  # of 255; measured 0.47, of which writing the JPEG is 0.41
    assert difference.max() <= 4


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "jpg"), ("L", "png"), ("RGB", "png")])
def test_other_pictures_become_gray(tmp_path, mode, suffix):
    content, facts = GrayscaleJPEG(32)(save(tmp_path / f"a.{suffix}", 100, 80, mode))
    assert Image.open(io.BytesIO(content)).mode == "L"
    assert facts[:2] == [40, 32]


def test_the_same_picture_gives_the_same_bytes(tmp_path):
    source = save(tmp_path / "a.jpg", 300, 200)
    assert GrayscaleJPEG(50)(source) == GrayscaleJPEG(50)(source)


@pytest.mark.parametrize("kept", [0, 2, 100, -1000, -2])
def test_files_that_are_cut_short(tmp_path, kept):
    source = save(tmp_path / "a.jpg", 400, 300)
    source.write_bytes(source.read_bytes()[:kept])
    sentence = {0: "is empty", 2: "not an image of a known format"}.get(kept, "cannot be read whole")
    with pytest.raises(ValueError, match=f"a.jpg (is )?{sentence}"):
        GrayscaleJPEG(64)(source)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        GrayscaleJPEG(64)(tmp_path / "a.jpg")


def test_decompression_bombs(tmp_path, monkeypatch):
    source = save(tmp_path / "a.jpg", 200, 200)
    monkeypatch.setattr(jpeg, "MAX_PIXELS", 39_999)
    with pytest.raises(ValueError, match=r"a.jpg has more than 39,999 pixels"):
        GrayscaleJPEG(64)(source)
    monkeypatch.setattr(jpeg, "MAX_PIXELS", 40_000)
    GrayscaleJPEG(64)(source)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    with pytest.raises(ValueError, match="has more than 40,000 pixels"):
        GrayscaleJPEG(64)(source)


def test_the_limit_is_that_of_training():
    from r2cmn.data import images

    assert jpeg.MAX_PIXELS == images.MAX_PIXELS


def test_impossible_settings():
    with pytest.raises(ValueError, match="--side is 0"):
        GrayscaleJPEG(0)
    with pytest.raises(ValueError, match="--quality is 96"):
        GrayscaleJPEG(64, 96)

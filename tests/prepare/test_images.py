import hashlib
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from r2cmn.data import image_errors
from r2cmn.prepare.images import Rendering, render, shrink


def encoded(array, kind="png", **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def picture(content):
    return Image.open(io.BytesIO(content))


GRAY = np.add.outer(np.arange(30), np.arange(50)).astype(np.uint8) * 3  # 50 wide, 30 high


@pytest.mark.parametrize(
    ("side", "size"), [(12, (20, 12)), (7, (12, 7)), (30, (50, 30)), (99, (50, 30)), (0, (50, 30))]
)
def test_the_short_side_is_chosen_and_the_aspect_kept(side, size):
    done = render("a.png", encoded(GRAY), Rendering(side=side))
    kept = picture(done.content)
    assert (kept.mode, kept.size, (done.width, done.height)) == ("L", size, size)
    upright = render("a.png", encoded(GRAY.T), Rendering(side=side))
    assert (upright.width, upright.height) == size[::-1]


def test_gray_values_are_kept_bit_for_bit_where_nothing_is_resized():
    for array in (GRAY, np.stack([GRAY] * 3, axis=2), GRAY.astype(np.uint16) * 257):
        done = render("a.png", encoded(array), Rendering(side=0))
        assert np.array_equal(np.asarray(picture(done.content)), GRAY)
        assert done.steps == ()


def test_transparent_pixels_become_black():
    rgba = np.dstack([GRAY, GRAY, GRAY, np.zeros_like(GRAY)])
    assert not np.asarray(picture(render("a.png", encoded(rgba), Rendering()).content)).any()


def test_hashes_and_sizes_are_those_of_the_files():
    source = encoded(GRAY)
    done = render("a.png", source, Rendering(side=10))
    assert done.source_sha256 == hashlib.sha256(source).hexdigest()
    assert done.sha256 == hashlib.sha256(done.content).hexdigest()
    assert done.steps == ("50 x 30 to 17 x 10",)
    assert render("a.png", source, Rendering(side=10)) == done


def test_jpeg_has_the_quality_asked_for():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    fine, coarse = (render("a.png", encoded(noise), Rendering("jpeg", quality=q)) for q in (95, 20))
    assert picture(fine.content).format == "JPEG"
    assert len(coarse.content) < len(fine.content) / 2
    assert np.abs(np.asarray(picture(fine.content)).astype(int) - noise).mean() < 4


@pytest.mark.parametrize("save", ["copy", "link"])
def test_a_file_kept_as_it_is_was_read_whole(save):
    source = encoded(GRAY.astype(np.uint16) * 99)
    done = render("a.png", source, Rendering(save, side=0))
    assert done.content == (source if save == "copy" else None)
    assert done.sha256 == done.source_sha256
    with pytest.raises(ValueError, match=r"a\.png cannot be read whole"):
        render("a.png", source[:-30], Rendering(save, side=0))


@pytest.mark.parametrize("content", [b"", b"hello", encoded(GRAY)[:-40], encoded(GRAY, "jpeg")[:200]])
def test_what_cannot_be_read_is_one_sentence(content):
    with pytest.raises(ValueError, match=r"x/a\.png (is empty|is not an image|cannot be read whole)") as caught:
        render("x/a.png", content, Rendering())
    assert "\n" not in str(caught.value)


def test_a_decompression_bomb_is_refused_before_it_is_read():
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(ValueError, match=r"a\.png has .*pixels"):
        render("a.png", bomb, Rendering())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"save": "gif"}, "--save is one of"),
        ({"side": -1}, "--side must be"),
        ({"quality": 96}, "--quality must be"),
        ({"clip": (99, 1)}, "--clip must be"),
        ({"save": "link"}, "leave --side"),
        ({"save": "copy", "side": 0, "clip": (1, 99)}, "leave --side"),
    ],
)
def test_impossible_choices(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Rendering(**options)


# ---- small JPEGs -----------------------------------------------------------------------------------------------------


def small(path, side):
    return shrink(str(path), path.read_bytes(), side)


def draw(path, width, height, mode="L", **options):
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
    source = draw(tmp_path / "a.jpg", *size)
    done = small(source, 64)
    with Image.open(io.BytesIO(done.content)) as image:
        assert (image.size, image.mode, image.format) == (kept, "L", "JPEG")
    hashes = tuple(hashlib.sha256(data).hexdigest() for data in (source.read_bytes(), done.content))
    assert (done.width, done.height, done.source_sha256, done.sha256) == (*kept, *hashes)
    assert done.steps == (f"{size[0]} x {size[1]} to {kept[0]} x {kept[1]}",)


def test_decoding_at_less_than_full_size_looks_the_same(tmp_path):
    source = draw(tmp_path / "a.jpg", 1200, 1500, quality=95)
    done = small(source, 128)
    whole = Image.open(source).resize((128, 160), Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(whole, float) - np.asarray(Image.open(io.BytesIO(done.content)), float))
    assert difference.mean() < 0.6  # of 255; measured 0.47, of which writing the JPEG is 0.41
    assert difference.max() <= 4


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "jpg"), ("L", "png"), ("RGB", "png")])
def test_other_pictures_become_gray(tmp_path, mode, suffix):
    done = small(draw(tmp_path / f"a.{suffix}", 100, 80, mode), 32)
    assert Image.open(io.BytesIO(done.content)).mode == "L"
    assert (done.width, done.height) == (40, 32)


def test_the_same_picture_gives_the_same_bytes(tmp_path):
    source = draw(tmp_path / "a.jpg", 300, 200)
    assert small(source, 50) == small(source, 50)


@pytest.mark.parametrize("kept", [0, 2, 100, -1000, -2])
def test_files_that_are_cut_short(tmp_path, kept):
    source = draw(tmp_path / "a.jpg", 400, 300)
    source.write_bytes(source.read_bytes()[:kept])
    sentence = {0: "is empty", 2: "not an image of a known format"}.get(kept, "cannot be read whole")
    with pytest.raises(ValueError, match=f"a.jpg (is )?{sentence}"):
        small(source, 64)


def test_decompression_bombs(tmp_path, monkeypatch):
    source = draw(tmp_path / "a.jpg", 200, 200)
    monkeypatch.setattr(image_errors, "MAX_PIXELS", 39_999)
    with pytest.raises(ValueError, match=r"a.jpg has .* more than 39,999"):
        small(source, 64)
    monkeypatch.setattr(image_errors, "MAX_PIXELS", 40_000)
    small(source, 64)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    with pytest.raises(ValueError, match="has more than 40,000 pixels"):
        small(source, 64)

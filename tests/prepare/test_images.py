import hashlib
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from r2cmn.prepare.images import Rendering, render


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


def test_transparency_lies_over_black():
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
    assert done.content == source
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
        ({"side": -1}, "--side is -1"),
        ({"quality": 96}, "--quality is 96"),
        ({"clip": (99, 1)}, "two percentiles"),
        ({"save": "link"}, "leave --side and --clip out"),
        ({"save": "copy", "side": 0, "clip": (1, 99)}, "leave --side and --clip out"),
    ],
)
def test_impossible_choices(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Rendering(**options)

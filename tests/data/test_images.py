import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from r2cmn.data import image_errors
from r2cmn.data.cache import image_digest
from r2cmn.data.image_errors import ImageError
from r2cmn.data.images import ImageTransform, load_image, normalize


def _save(image, path, **options):
    image.save(path, **options)
    return path


def _gradient(height=6, width=8):
    return np.arange(height * width, dtype=np.uint8).reshape(height, width) * 5


def test_grayscale_has_three_equal_channels(tmp_path):
    pixels = _gradient()
    image = load_image(_save(Image.fromarray(pixels), tmp_path / "a.png"))
    assert image.mode == "RGB"
    assert all(np.array_equal(np.asarray(image)[..., channel], pixels) for channel in range(3))


@pytest.mark.parametrize(("name", "dtype"), [("a.png", "<u2"), ("a.tif", "<u2"), ("b.tif", ">u2")])
def test_sixteen_bits_are_scaled_by_their_full_range(tmp_path, name, dtype):
    values = np.array([[0, 257, 32_768, 65_535]], dtype=np.uint16)
    if dtype == "<u2":
        path = _save(Image.fromarray(values), tmp_path / name)
    else:
        path = tmp_path / name
        path.write_bytes(_big_endian_tiff(values))
    with Image.open(path) as image:
        assert image.mode.startswith("I")
    assert np.asarray(load_image(path))[0, :, 0].tolist() == [0, 1, 128, 255]


def _big_endian_tiff(values):
    """A baseline TIFF of one strip, byte by byte."""
    height, width = values.shape
    data = values.astype(">u2").tobytes()
    tags = [
        (256, width),
        (257, height),
        (258, 16),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, len(data)),
    ]
    directory = struct.pack(">H", len(tags))
    for tag, value in tags:
        directory += struct.pack(">HHIHH", tag, 3, 1, value, 0)
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + directory + b"\0\0\0\0"


def test_a_tiff_of_sixteen_bits_whose_white_is_zero_is_inverted(tmp_path):
    values = np.array([[0, 257, 32_768, 65_535]], dtype=np.uint16)
    path = _save(Image.fromarray(values), tmp_path / "a.tif", tiffinfo={262: 0})
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0
        assert np.array_equal(np.asarray(image), values)  # Pillow inverts neither when it writes nor when it reads
    assert np.asarray(load_image(path))[0, :, 0].tolist() == [255, 254, 127, 0]
    _save(Image.fromarray((values // 257).astype(np.uint8)), path, tiffinfo={262: 0})  # of 8 bits it inverts both
    assert np.asarray(load_image(path))[0, :, 0].tolist() == [0, 1, 127, 255]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_blended_with_black(tmp_path, mode):
    white = (255,) * (len(mode) - 1)
    image = Image.new(mode, (3, 1))
    for column, alpha in enumerate((0, 128, 255)):
        image.putpixel((column, 0), (*white, alpha))
    assert np.asarray(load_image(_save(image, tmp_path / "a.png")))[0, :, 1].tolist() == [0, 128, 255]


def test_a_palette_is_resolved(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    assert np.asarray(load_image(_save(image, tmp_path / "a.png"))).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    transparent = load_image(_save(image, tmp_path / "b.png", transparency=1))
    assert np.asarray(transparent).tolist() == [[[10, 20, 30], [0, 0, 0]]]


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_that_hold_fewer_are_refused(tmp_path, suffix, bits):
    values = np.linspace(0, 2**bits - 1, 64, dtype=np.uint16).reshape(8, 8)
    with pytest.raises(ImageError, match=rf"16 bits, but no value above {2**bits - 1:,}: .* at most {bits} bits"):
        load_image(_save(Image.fromarray(values), tmp_path / f"a{suffix}"))
    full = values * 2 ** (16 - bits)
    assert np.asarray(load_image(_save(Image.fromarray(full), tmp_path / f"b{suffix}"))).max() == 255
    assert not np.asarray(load_image(_save(Image.fromarray(values * 0), tmp_path / f"c{suffix}"))).any()


def test_one_bit_and_cmyk_are_read(tmp_path):
    assert np.asarray(load_image(_save(Image.new("1", (2, 2), 1), tmp_path / "a.png"))).min() == 255
    assert np.asarray(load_image(_save(Image.new("CMYK", (8, 8)), tmp_path / "a.jpg"))).min() > 250


def test_the_exif_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    path = _save(Image.new("L", (30, 20)), tmp_path / "a.jpg", exif=exif)
    assert load_image(path).size == (30, 20)


def _jpeg():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no image at"),
        (b"", "is empty"),
        (b"not an image", "is not an image of a known format"),
        (_jpeg()[: len(_jpeg()) // 2], "cannot be read whole: .*truncated"),
        (_jpeg()[:100], "cannot be read whole|is not an image"),
    ],
)
def test_bad_files_are_named(tmp_path, content, sentence):
    path = tmp_path / "bad.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=sentence) as caught:
        load_image(path)
    assert str(path) in str(caught.value)


def test_a_truncated_png_a_folder_and_floating_point_values_raise(tmp_path):
    path = _save(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)), tmp_path / "a.png"
    )
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"a\.png cannot be read whole"):
        load_image(path)
    with pytest.raises(ImageError, match="cannot be read whole"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match=r"f\.tif holds floating-point"):
        load_image(_save(Image.new("F", (4, 4)), tmp_path / "f.tif"))
    with pytest.raises(ImageError, match="outside 0 to 65,535"):
        load_image(_save(Image.fromarray(np.array([[70_000]], dtype=np.int32)), tmp_path / "i.tif"))


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a"])
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for path in (tmp_path / name, Path("/dev/zero")):
        with pytest.raises(ImageError, match="it is a folder, a pipe or a device"):
            load_image(path)


def test_images_that_become_too_large_when_they_are_resized_raise(tmp_path):
    with pytest.raises(ImageError, match=r"line\.png has 60000 x 1 pixels: one side is more than 1000 times"):
        load_image(_save(Image.new("L", (60_000, 1)), tmp_path / "line.png"))
    narrow = load_image(_save(Image.new("L", (1, 500)), tmp_path / "narrow.png"))
    with pytest.raises(ImageError, match="1000 x 500000 pixels, more than 100,000,000"):
        ImageTransform(1000, 1000).train(narrow)
    assert ImageTransform(4, 4).train(narrow).shape == (3, 4, 4)


def test_too_large_images_raise_before_they_are_decoded(tmp_path, monkeypatch):
    path = _save(Image.new("L", (20, 20)), tmp_path / "large.png")
    monkeypatch.setattr(image_errors, "MAX_PIXELS", 399)
    with pytest.raises(ImageError, match="20 x 20 pixels, more than 399"):
        load_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own guard, at twice its limit
    with pytest.raises(ImageError, match=r"large\.png has more than 399 pixels"):
        load_image(path)


def _rgb(height, width):
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_evaluation_resizes_to_a_square_and_normalizes():
    transform = ImageTransform(resize=40, size=32)
    image = _rgb(50, 70)
    resized = torch.from_numpy(np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)).copy()).permute(2, 0, 1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    torch.testing.assert_close(transform.evaluation(image), (resized / 255 - mean) / std)


def test_train_cuts_a_square_of_the_resized_image_at_a_random_place():
    transform = ImageTransform(resize=40, size=32)
    image = _rgb(50, 70)
    resized = image.resize((56, 40), Image.Resampling.BILINEAR)  # the short side becomes 40
    expected = torch.from_numpy(np.asarray(resized).copy())
    crops = [transform.train(image) for _ in range(8)]
    assert all(crop.shape == (3, 32, 32) for crop in crops)
    assert any(not torch.equal(crops[0], crop) for crop in crops[1:])
    mean = torch.tensor([0.485, 0.456, 0.406])
    std = torch.tensor([0.229, 0.224, 0.225])
    normalized = ((expected / 255 - mean) / std).permute(2, 0, 1)
    windows = normalized.unfold(1, 32, 1).unfold(2, 32, 1)  # (3, 9, 25, 32, 32)
    for crop in crops:
        distance = (windows - crop[:, None, None]).abs().amax(dim=(0, 3, 4))
        assert distance.min() < 1e-5


def test_flip_is_off_by_default():
    image = _rgb(32, 32)
    plain, flipping = ImageTransform(32, 32), ImageTransform(32, 32, horizontal_flip=True)
    straight = plain.evaluation(image)
    assert all(torch.equal(plain.train(image), straight) for _ in range(16))
    seen = [flipping.train(image) for _ in range(16)]
    assert any(torch.equal(crop, straight) for crop in seen)
    assert any(torch.equal(crop, straight.flip(-1)) for crop in seen)


def test_random_crops_follow_torchs_seed():
    transform, image = ImageTransform(40, 32), _rgb(40, 60)
    torch.manual_seed(3)
    first = [transform.train(image) for _ in range(4)]
    torch.manual_seed(3)
    assert all(torch.equal(crop, transform.train(image)) for crop in first)


def test_transform_is_described_and_rebuilt():
    transform = ImageTransform(resize=40, size=32, horizontal_flip=True)
    assert transform.to_dict() == {"resize": 40, "size": 32, "horizontal_flip": True, "random_crop": True}
    assert ImageTransform(**transform.to_dict()).to_dict() == transform.to_dict()
    assert ImageTransform().to_dict() == {"resize": 256, "size": 224, "horizontal_flip": False, "random_crop": True}
    # checkpoints of before `random_crop` lack it
    assert ImageTransform(resize=40, size=32, horizontal_flip=True).to_dict() == transform.to_dict()


@pytest.mark.parametrize("horizontal_flip", [False, True])
@pytest.mark.parametrize("shape", [(50, 70), (70, 50), (40, 40), (32, 90), (200, 41)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_train_equals_torchvision_bit_for_bit_with_the_same_random_numbers(shape, horizontal_flip, mode):
    image = _rgb(*shape).convert(mode).convert("RGB")
    flip = [v2.RandomHorizontalFlip()] if horizontal_flip else []
    to_tensor = [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    chain = v2.Compose([v2.Resize(40), v2.RandomCrop(32), *flip, *to_tensor])
    transform = ImageTransform(40, 32, horizontal_flip)
    for seed in range(6):
        torch.manual_seed(seed)
        expected, after = chain(image), torch.rand(1)
        torch.manual_seed(seed)
        assert torch.equal(transform.train(image), expected)
        assert torch.equal(torch.rand(1), after)
    assert torch.equal(transform.evaluation(image), v2.Compose([v2.Resize((32, 32)), *to_tensor])(image))


def test_without_random_crop_training_images_equal_those_of_evaluation():
    transform, image = ImageTransform(40, 32, random_crop=False), _rgb(50, 70)
    assert all(torch.equal(transform.train(image), transform.evaluation(image)) for _ in range(4))
    assert not transform.is_random
    assert ImageTransform(40, 32, horizontal_flip=True, random_crop=False).is_random
    # a crop of full size still moves along the longer side
    assert ImageTransform(32, 32).is_random


def test_one_channel_is_normalized_as_three_equal_ones():
    pixels = torch.randint(0, 256, (1, 5, 7), dtype=torch.uint8)
    out = torch.full((3, 5, 7), 9.0)
    assert torch.equal(normalize(pixels, out), normalize(pixels.expand(3, -1, -1)))
    assert torch.equal(out, normalize(pixels))


def test_the_name_of_a_preparation_changes_with_its_first_step():
    names = {
        ImageTransform(*sizes, random_crop=crop).preparation(training).name
        for sizes in ((40, 32), (48, 32), (40, 24))
        for crop in (True, False)
        for training in (True, False)
    }
    assert sorted(name.split(",")[0] for name in names) == ["short side 40", "short side 48", "square 24", "square 32"]
    assert all(name.endswith(f", Pillow {Image.__version__}") for name in names)


def test_a_digest_changes_with_path_size_and_time(tmp_path):
    path = _save(Image.new("L", (4, 4)), tmp_path / "a.png")
    first = image_digest(path)
    assert image_digest(path) == first
    assert len(first) == 16
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    second = image_digest(path)
    path.write_bytes(path.read_bytes() + b"0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    third = image_digest(path)
    assert len({first, second, third, image_digest(path.rename(tmp_path / "b.png"))}) == 4


@pytest.mark.parametrize("sizes", [(32, 40), (32, 0)])
def test_invalid_sizes_raise(sizes):
    with pytest.raises(ValueError, match=r"images\.size is"):
        ImageTransform(*sizes)

"""Cached images equal decoded images bit for bit, in training and in evaluation."""

import errno
import itertools
import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from r2cmn.data import images, views
from r2cmn.data.datamodule import ReportDataModule
from r2cmn.data.image_errors import ImageError
from r2cmn.data.images import ImageTransform
from r2cmn.data.views import CachedImages, read_images
from r2cmn.files import cache_dir

SHAPES = [(50, 70), (70, 50), (40, 40), (90, 33), (20, 160)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(views, "_IMAGES_PER_FILE", 4)


@pytest.fixture
def paths(tmp_path):
    """Gray and colored images, JPEG and PNG, 8 and 16 bits, of all shapes."""
    generator = np.random.default_rng(0)
    found = []
    for number, shape in enumerate(SHAPES * 2):
        color = number % 3 == 0
        pixels = generator.integers(0, 256, (*shape, 3) if color else shape, dtype=np.uint8)
        path = tmp_path / f"{number}.{'png' if number % 2 else 'jpg'}"
        Image.fromarray(pixels).save(path)
        found.append(path)
    sixteen = tmp_path / "sixteen.png"
    Image.fromarray(generator.integers(0, 65_536, (60, 45), dtype=np.uint16)).save(sixteen)
    return [*found, sixteen]


@pytest.mark.parametrize("horizontal_flip", [False, True])
@pytest.mark.parametrize("random_crop", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_cached_images_equal_decoded_ones(paths, cache, training, random_crop, horizontal_flip):
    transform = ImageTransform(40, 32, horizontal_flip, random_crop)
    preparation = transform.preparation(training)
    plain = transform.train if training else transform.evaluation
    kept = read_images(paths, preparation, cache)
    assert isinstance(kept, CachedImages)
    for seed, (position, path) in itertools.product(range(3), enumerate(paths)):
        torch.manual_seed(seed)
        expected = plain(images.load_image(path))
        torch.manual_seed(seed)
        assert torch.equal(images.normalize(preparation.cut(kept[position])), expected)


def test_gray_images_are_cached_as_one_channel(paths):
    kept = read_images(paths, ImageTransform(40, 32).preparation(True), "disk")
    assert [len(kept[position]) for position in range(len(paths))] == [3, 1, 1] * 3 + [3, 1]


def never(path):
    raise AssertionError(f"{path} was decoded again")


def count(monkeypatch):
    opened = []

    def load(path):
        opened.append(os.path.basename(path))  # noqa: PTH119
        return images.load_image(path)

    monkeypatch.setattr(views, "load_image", load)
    return opened


def test_the_second_reading_decodes_nothing(paths, monkeypatch):
    preparation = ImageTransform(40, 32).preparation(True)
    first = read_images(paths, preparation, "disk")
    monkeypatch.setattr(views, "load_image", never)
    second = read_images(paths, preparation, "disk")
    assert all(torch.equal(first[position], second[position]) for position in range(len(paths)))
    in_memory = None
    with pytest.raises(AssertionError, match="decoded again"):
        in_memory = read_images(paths, preparation, "memory")
    assert in_memory is None


def test_a_changed_image_or_setting_is_decoded_again(paths, monkeypatch):
    preparation = ImageTransform(40, 32).preparation(True)
    read_images(paths, preparation, "disk")
    opened = count(monkeypatch)
    read_images(paths, ImageTransform(40, 24, horizontal_flip=True).preparation(True), "disk")
    assert opened == [], "what is done after the resizing does not matter"
    read_images(paths, ImageTransform(44, 32).preparation(True), "disk")
    assert len(opened) == len(paths)
    opened.clear()
    read_images(paths, ImageTransform(40, 32).preparation(False), "disk")
    assert len(opened) == len(paths)
    opened.clear()

    Image.new("L", (40, 40), 7).save(paths[5])  # another size
    assert read_images(paths, preparation, "disk")[5].unique().tolist() == [7]
    assert sorted(opened) == sorted(path.name for path in paths[4:8]), "only the file of the image"
    opened.clear()

    status = paths[5].stat()
    Image.new("L", (40, 40), 9).save(paths[5])  # the same size at another time
    os.utime(paths[5], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert paths[5].stat().st_size == status.st_size
    assert read_images(paths, preparation, "disk")[5].unique().tolist() == [9]
    opened.clear()

    paths[5].rename(paths[5].with_name("moved.png"))
    paths[5] = paths[5].with_name("moved.png")
    read_images(paths, preparation, "disk")
    assert "moved.png" in opened


def test_an_unreadable_image_is_named(paths):
    paths[2].write_bytes(b"")
    for cache in ("memory", "disk"):
        with pytest.raises(ImageError, match=r"2\.jpg is empty"):
            read_images(paths, ImageTransform(40, 32).preparation(True), cache)


def test_a_full_disk_is_a_warning(paths, cache, monkeypatch, caplog):
    calls = []

    def fsync(_):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    preparation = ImageTransform(40, 32).preparation(False)
    with caplog.at_level(logging.WARNING):
        kept = read_images(paths, preparation, "disk")
    assert [record.getMessage() for record in caplog.records] == [
        f"data.cache=disk: the disk is full ({cache}): missing images are decoded each epoch; set R2CMN_CACHE "
        "to a folder with room, or data.cache=none"
    ]
    plain = read_images(paths, preparation)
    expected = [plain[position] for position in range(len(paths))]
    opened = count(monkeypatch)
    assert all(torch.equal(kept[n].expand(3, -1, -1), image) for n, image in enumerate(expected))
    assert len(opened) == len(paths) - 4, "the file that was written is used"


def test_an_unwritable_folder_is_a_warning(paths, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "file"))
    kept = read_images(paths, ImageTransform(40, 32).preparation(False), "disk")
    assert "are decoded each epoch" in caplog.text
    assert torch.equal(kept[3], read_images(paths, ImageTransform(40, 32).preparation(False))[3])


def _batches(dir, cache, num_workers, split="train"):
    data = ReportDataModule(
        dir, {"threshold": 1}, {"resize": 40, "size": 32, "horizontal_flip": True}, 4, num_workers, cache=cache
    )
    torch.manual_seed(3)
    loader = getattr(data, f"{split}_dataloader")()
    return [batch for _ in range(2 if split == "train" else 1) for batch in loader]


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_the_same_with_every_cache(tiny_dataset, num_workers, split):
    plain, *others = (_batches(tiny_dataset, cache, num_workers, split) for cache in ("none", "memory", "disk", "disk"))
    if split == "train":
        assert not torch.equal(plain[0].images, plain[2].images)
    for other in others:
        for expected, batch in zip(plain, other, strict=True):
            assert torch.equal(batch.images, expected.images)
            assert torch.equal(batch.index, expected.index)
            assert torch.equal(batch.tokens, expected.tokens)


def test_the_cache_in_memory_writes_no_file(tiny_dataset):
    _batches(tiny_dataset, "memory", 0)
    assert not (cache_dir() / "images").exists()


@pytest.mark.realdata
def test_real_images_are_cached_bit_for_bit(iu_xray_dir):
    paths = sorted((iu_xray_dir / "images").rglob("*.*"))[::60]
    transform = ImageTransform()
    for training in (True, False):
        preparation = transform.preparation(training)
        plain = transform.train if training else transform.evaluation
        kept = read_images(paths, preparation, "disk")
        for position, path in enumerate(paths):
            torch.manual_seed(position)
            expected = plain(images.load_image(path))
            torch.manual_seed(position)
            assert torch.equal(images.normalize(preparation.cut(kept[position])), expected)

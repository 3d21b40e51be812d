"""Near pairs against all pairs, and groups of pictures that are one or are not."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from r2cmn.audit import duplicates
from r2cmn.audit.duplicates import near_pairs, same_pictures, stacked
from r2cmn.data.index import perceptual_hash


def _picture(seed, size=96):
    """Draw soft blobs: a picture has most of its signs in coarse shapes, as an X-ray has."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    pixels = np.zeros((size, size))
    for _ in range(12):
        cy, cx, width = [*generator.uniform(0, 1, 2).tolist(), generator.uniform(0.05, 0.3)]
        pixels += generator.uniform(-1, 1) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / width**2)
    pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return Image.fromarray((200 * pixels + 20).astype(np.uint8))


def _as_jpeg(picture, quality):
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=quality)
    return Image.open(file)


@pytest.mark.parametrize("distance", [0, 1, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_each_near_pair_is_found_once(seed, distance):
    print("seed", seed)
    generator = np.random.default_rng(seed)
    centers = generator.integers(0, 2**64, 20, dtype=np.uint64)
    hashes = []
    for _ in range(300):
        bits = int(centers[generator.integers(20)])
        for place in generator.integers(0, 64, generator.integers(0, 6)):
            bits ^= 1 << int(place)
        hashes.append(bits)
    expected = sorted((i, j) for i, j in itertools.combinations(range(300), 2)
                      if (hashes[i] ^ hashes[j]).bit_count() <= distance)  # fmt: skip
    found = [pair for left, right in near_pairs(np.array(hashes, dtype=np.uint64), distance)
             for pair in zip(left.tolist(), right.tolist(), strict=True)]  # fmt: skip
    assert sorted(found) == expected
    assert expected


def test_bits_are_counted_without_numpy_2(monkeypatch):
    values = np.random.default_rng(0).integers(0, 2**64, 50, dtype=np.uint64)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert duplicates._count_bits(values).tolist() == [int(value).bit_count() for value in values]
    small = values.view(np.uint8)
    assert duplicates._count_bits(small).tolist() == [int(value).bit_count() for value in small]


def test_the_hash_follows_the_plain_cosine_transform():
    picture = _picture(5)
    small = np.asarray(picture.resize((32, 32), Image.Resampling.BOX), dtype=float)
    coefficients = [[sum(small[i, j] * np.cos(np.pi * u * (2 * i + 1) / 64) * np.cos(np.pi * v * (2 * j + 1) / 64)
                         for i in range(32) for j in range(32)) for v in range(1, 9)] for u in range(1, 9)]  # fmt: skip
    bits = (np.array(coefficients) > np.median(coefficients)).ravel()
    assert perceptual_hash(picture)[0] == int("".join(str(int(bit)) for bit in bits), 2)


def test_scaled_compressed_and_brightened_pictures_are_grouped():
    first, second = _picture(0), _picture(1)
    pictures = [
        first,
        second,
        first.resize((48, 48), Image.Resampling.BICUBIC),
        _as_jpeg(first, 30),
        first.point([min(255, round(1.1 * level)) for level in range(256)]),
        _as_jpeg(second.resize((192, 192), Image.Resampling.BICUBIC), 75),
        *(_picture(seed) for seed in range(2, 20)),
    ]
    groups = same_pictures(*stacked([perceptual_hash(picture) for picture in pictures]))
    assert [group.tolist() for group in groups] == [[0, 2, 3, 4], [1, 5]]


def test_a_mirrored_picture_is_another_picture():
    picture = _picture(0)
    hashes = [perceptual_hash(picture), perceptual_hash(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))]
    assert same_pictures(*stacked(hashes)) == []


def test_a_frequent_placeholder_makes_one_group():
    hashes = [perceptual_hash(_picture(0))] * 3000 + [perceptual_hash(_picture(1))]
    groups = same_pictures(*stacked(hashes))
    assert [len(group) for group in groups] == [3000]


@pytest.mark.parametrize("number", [0, 1])
def test_fewer_than_two_pictures_make_no_group(number):
    assert same_pictures(*stacked([perceptual_hash(_picture(0))] * number)) == []

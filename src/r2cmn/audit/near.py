"""Pictures that are one picture: a perceptual hash in two resolutions, and an index that finds all close pairs.

A difference hash is of no use here: chest X-rays are so alike that 124 pairs of different pictures of IU X-Ray share
all of its 64 bits. The signs of a discrete cosine transform tell them apart (Zauner, 2010): 64 of its coefficients
find the candidates, 256 confirm them. Of the 17 million pairs of IU X-Ray two are confirmed, at distances 0 and 20 of
256, and both are one picture; the next candidate is at 46. A picture that was scaled to half, or compressed to JPEG of
quality 30, is at 16 at most from what it was (300 pictures of IU X-Ray).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from r2cmn.data.index import FINE_SIDE

MAX_DISTANCE = 6
"""Bits of 64 in which a candidate differs at most."""

MAX_FINE_DISTANCE = 32
"""Bits of 256 in which one picture differs from the other at most."""


def same_pictures(coarse: np.ndarray, fine: np.ndarray) -> list[np.ndarray]:
    """Group pictures that are one picture.

    Args:
        coarse: (n,) uint64.
        fine: (n, 32) uint8, 256 bits each.

    Returns:
        The positions of each group of two or more, in order.
    """
    if len(coarse) < 2:
        return []
    # equal pictures first: a placeholder that occurs 10,000 times would make 50 million pairs
    _, first, which = np.unique(fine, axis=0, return_index=True, return_inverse=True)
    which = which.ravel()
    joined = _Groups(len(first))
    for left, right in near_pairs(coarse[first], MAX_DISTANCE):
        near = _count(fine[first[left]] ^ fine[first[right]]).sum(axis=1) <= MAX_FINE_DISTANCE
        for one, other in zip(left[near].tolist(), right[near].tolist(), strict=True):
            joined.join(one, other)
    group = np.array([joined.of(number) for number in range(len(first))])[which]
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def near_pairs(hashes: np.ndarray, max_distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of hashes that differ in `max_distance` bits or less, each once, in several arrays.

    The 64 bits are cut into max_distance + 1 bands: a pair so close is equal in one of them, at least. Within a band
    only hashes that are equal in it are compared.

    Args:
        hashes: (n,) uint64.
        max_distance: 0 to 63.
    """
    ends = [64 * band // (max_distance + 1) for band in range(max_distance + 2)]
    masks = [np.uint64(((1 << (end - start)) - 1) << start) for start, end in pairwise(ends)]
    for band, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        keys = (hashes & mask)[order]
        group_ends = np.searchsorted(keys, keys, side="right")
        places = np.arange(len(keys))
        for apart in range(1, len(keys)):
            places = places[places + apart < group_ends[places]]
            if not len(places):
                break
            left, right = order[places], order[places + apart]
            differ = hashes[left] ^ hashes[right]
            near = _count(differ) <= max_distance
            for earlier in masks[:band]:
                near &= (differ & earlier) != 0  # else that band has yielded the pair
            if near.any():
                yield np.minimum(left, right)[near], np.maximum(left, right)[near]


_BITS_OF_16 = np.array([number.bit_count() for number in range(1 << 16)], dtype=np.uint8)


def _count(values: np.ndarray) -> np.ndarray:
    """Count the bits that are set in each value, of 8 or 64 bits; NumPy does it since 2.0."""
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(values)
    if values.dtype == np.uint8:
        return _BITS_OF_16[values]
    return _BITS_OF_16[values.view(np.uint16).reshape(*values.shape, 4)].sum(axis=-1, dtype=np.uint8)


class _Groups:
    """Numbers that belong together, as pairs of them become known."""

    def __init__(self, number: int):
        self._above = list(range(number))

    def of(self, number: int) -> int:
        """Return the least number of a group."""
        while self._above[number] != number:
            self._above[number] = self._above[self._above[number]]
            number = self._above[number]
        return number

    def join(self, one: int, other: int) -> None:
        """Make one group of two."""
        low, high = sorted((self.of(one), self.of(other)))
        self._above[high] = low


def stacked(hashes: Sequence[tuple[int, bytes]]) -> tuple[np.ndarray, np.ndarray]:
    """Return what `same_pictures` takes of many `perceptual_hash`."""
    coarse = np.array([coarse for coarse, _ in hashes], dtype=np.uint64)
    fine = np.frombuffer(b"".join(fine for _, fine in hashes), dtype=np.uint8).reshape(len(hashes), FINE_SIDE**2 // 8)
    return coarse, fine

"""Occlusion, the fall of each word if one patch is replaced, and the deletion test of a map.

Shapes: S patches, W words, R orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r2cmn.explain.reading import Reading

NUM_ORDERS = 20
"""Random orders of the patches: a map that beats all of them has p = 1/21, below 0.05."""

NUM_STEPS = 10
"""Steps in which all patches are replaced."""


def occlude(reading: Reading, study: int, tokens: Tensor, log_probs: Tensor, what: str = "features") -> Tensor:
    """Return how much the log-probability of each token falls if a patch alone is replaced: (W, S).

    Args:
        reading: of the batch.
        study: position of the study in the batch.
        tokens: (W,) of the report.
        log_probs: (W,) with all patches.
        what: see `r2cmn.explain.reading.REPLACED`.
    """
    each = torch.eye(reading.num_patches, dtype=torch.bool, device=tokens.device)
    return (log_probs - reading.score(study, each, tokens, what)).T


def deletion_test(
    reading: Reading, study: int, tokens: Tensor, maps: Mapping[str, Tensor], words: Sequence[int], seed: int = 0
) -> dict[str, list[dict[str, Any] | None]]:
    """Compare the order of the patches by a map with random orders, for some words.

    The patches are replaced in ten steps, by the mean of their view, the first ones first. The area is that under the
    word's probability over the share of replaced patches: a small one says that the first patches matter. A map beats
    random order if its area is smaller than that of each of 20 random orders, which are the same for all words. A map
    without meaning passes with probability 1/21 for each word: of 20 words one passes by chance.

    Args:
        reading: of the batch.
        study: position of the study in the batch.
        tokens: (W,) of the report.
        maps: by route (W, S), the patches with the largest values are replaced first.
        words: positions of the tokens to test.
        seed: of the random orders.

    Returns:
        For each route and token `area`, `random_area` (the mean), `random_sd`, `beats_random` and `p`, the share of
        orders whose area is at most as large, the map's included; None for other tokens.
    """
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(reading.num_patches) for _ in range(NUM_ORDERS)]
    random = _areas(reading, study, tokens, orders)  # (R, W)
    found: dict[str, list[dict[str, Any] | None]] = {}
    for route, values in maps.items():
        # equal values in the order of the patches, the same on every device
        ranked = [np.argsort(-values[word].float().cpu().numpy(), kind="stable") for word in words]
        areas = _areas(reading, study, tokens, ranked)
        found[route] = [None] * len(tokens)
        for number, word in enumerate(words):
            found[route][word] = _compare(float(areas[number, word]), random[:, word])
    return found


def _compare(area: float, random: np.ndarray) -> dict[str, Any]:
    p = (1 + int((random <= area).sum())) / (1 + len(random))
    return {
        "area": area,
        "random_area": float(random.mean()),
        "random_sd": float(random.std(ddof=1)),
        "beats_random": p < 0.05,
        "p": p,
    }


def _areas(reading: Reading, study: int, tokens: Tensor, orders: Sequence[np.ndarray]) -> np.ndarray:
    """Return the areas (R, W) under the probabilities of all tokens for orders of the patches."""
    counts = np.linspace(0, reading.num_patches, NUM_STEPS + 1).round().astype(int)
    ranks = torch.from_numpy(np.stack([np.argsort(order) for order in orders])).to(tokens.device)  # (R, S)
    replaced = torch.stack([ranks < count for count in counts.tolist()], 1)  # (R, steps, S)
    scores = reading.score(study, replaced.flatten(0, 1), tokens).exp().cpu().double().unflatten(0, replaced.shape[:2])
    shares = torch.from_numpy(counts / reading.num_patches)
    area: np.ndarray = torch.trapezoid(scores, shares, dim=1).numpy()
    return area

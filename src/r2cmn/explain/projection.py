"""The vectors of a memory in two dimensions."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from r2cmn.explain.figures import EXTRA
from r2cmn.files import load_optional
from r2cmn.files.words import check_choice

METHODS = ("tsne", "pca")
SEED = 0
MIN_VECTORS = 3
PERPLEXITY = 30.0
"""Of t-SNE, about the number of neighbors."""

_TSNE = (
    "t-SNE keeps near vectors together; it does not show how far clusters are from each other, nor their sizes, and "
    "its axes mean nothing"
)


class Projection(NamedTuple):
    """Vectors in two dimensions.

    Attributes:
        points: (N, 2).
        text: how they were made, and what they do not show.
    """

    points: np.ndarray
    text: str


def project(vectors: np.ndarray, method: str = "tsne", perplexity: float = PERPLEXITY) -> Projection:
    """Project vectors (N, D) to two dimensions, with a fixed seed.

    Args:
        vectors: at least `MIN_VECTORS`.
        method: `tsne` (van der Maaten and Hinton, 2008) or `pca`.
        perplexity: of t-SNE, about the number of neighbors; at most (N - 1) / 3 is used.

    Raises:
        ValueError: without scikit-learn, or if the method is unknown.
    """
    check_choice("method", method, METHODS)
    if len(vectors) < MIN_VECTORS:
        raise ValueError(f"figure 6 needs at least {MIN_VECTORS} memory vectors, not {len(vectors)}")
    pca = load_optional("sklearn.decomposition", "figure 6", EXTRA).PCA(2, random_state=SEED)
    if method == "pca":
        points = pca.fit_transform(vectors)
        share = pca.explained_variance_ratio_.sum()
        return Projection(points, f"First two principal components, {share:.0%} of the variance")
    used = min(perplexity, (len(vectors) - 1) / 3)
    points = _tsne(vectors.tobytes(), vectors.dtype.str, vectors.shape, used)
    clamped = f" (at most a third of the {len(vectors)} vectors, not {perplexity:g})" if used < perplexity else ""
    return Projection(points, f"t-SNE, perplexity {used:g}{clamped}, seed {SEED}. {_TSNE}")


@lru_cache(maxsize=2)
def _tsne(content: bytes, dtype: str, shape: tuple[int, int], perplexity: float) -> np.ndarray:
    """Project the bytes of an array; it takes seconds, and all studies of a data set have the same memory."""
    manifold = load_optional("sklearn.manifold", "figure 6", EXTRA)
    vectors = np.frombuffer(content, dtype).reshape(shape)
    points: np.ndarray = manifold.TSNE(2, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(vectors)
    points.flags.writeable = False
    return points

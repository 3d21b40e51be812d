"""Features of a frozen trunk, computed once and cached: training reads them and never runs the trunk.

They are valid only if the trunk gives the same output for an image in every epoch: its weights are frozen, and images
are neither cropped nor flipped at random.

Shapes: B studies, I views, S patches of all views, F features of the trunk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from r2cmn.data.batches import collate_images
from r2cmn.data.cache import RowCache, image_digest
from r2cmn.data.images import Preparation
from r2cmn.data.views import StudyViews, read_images
from r2cmn.files import cache_dir

PRECISIONS = ("none", "float16", "float32")
"""Precision of the cached features; "none" turns the cache off."""

_VERSION = 3  # of what a row of features holds
_STUDIES_PER_FILE = 256  # 103 MB of float16 for two views of 224 pixels and a ResNet-101


class FrozenTrunk(Protocol):
    """The part of `r2cmn.backbone.Backbone` that is used here."""

    frozen: bool
    trunk: nn.Module

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, I, 3, H, W) to features (B, S, F)."""


def check_frozen(backbone: Any) -> None:
    """Check that the features of a backbone can be cached.

    Raises:
        ValueError: if the trunk is not frozen or the backbone does not offer its features.
    """
    if not all(hasattr(backbone, name) for name in ("frozen", "trunk", "features")):
        raise ValueError(
            f"data.cache_features: {type(backbone).__name__} has no 'trunk' with 'features' as "
            "r2cmn.backbone.Backbone has: set data.cache_features=none"
        )
    if not backbone.frozen:
        raise ValueError(
            "data.cache_features needs a frozen trunk, but this one is trained: set backbone.frozen=true, or "
            "data.cache_features=none"
        )


def read_features(
    backbone: FrozenTrunk, paths: Sequence[Path], preparation: Preparation, num_views: int, precision: str,
    batch_size: int = 16, num_workers: int = 0,
) -> RowCache:  # fmt: skip
    """Return the features (S, F) of each study; those that `$R2CMN_CACHE/features` lacks are computed in float32.

    A cached row depends on the weights of the trunk, the preparation, the image files and the precision. Processes
    that call this at the same time, such as the ranks of DDP, share the work, each on its own device.

    Args:
        backbone: frozen, on the device that computes.
        paths: the images of all studies, `num_views` for each.
        preparation: how images are prepared; nothing in it is random.
        num_views: images of a study.
        precision: "float16" or "float32".
        batch_size: studies in a batch of the trunk.
        num_workers: worker processes that decode images.

    Raises:
        ValueError: if the trunk is not frozen, or its features do not fit into float16.
        OSError: if the cache cannot be written or has no room.
    """
    check_frozen(backbone)
    views = StudyViews(read_images(paths, preparation), preparation.cut, num_views)

    def make(positions: range) -> list[Tensor]:
        loader: DataLoader[Tensor] = DataLoader(
            views,  # type: ignore[arg-type]  # its length is not needed
            batch_size,
            sampler=positions,
            num_workers=num_workers,
            collate_fn=collate_images,
            # its own generator, so that filling the cache does not change the random numbers of the run
            generator=torch.Generator(),
        )
        return [row for images in loader for row in _features(backbone, images, precision)]

    digests = [image_digest(path) for path in paths]
    studies = [b"".join(digests[start : start + num_views]) for start in range(0, len(digests), num_views)]
    settings = f"features {_VERSION}, {preparation.name}, {precision}, {trunk_digest(backbone.trunk)}"
    cache = RowCache(cache_dir("features"), settings, studies, _STUDIES_PER_FILE)
    try:
        cache.fill(make, "running the frozen trunk")
    except OSError as error:
        reason = f"data.cache_features: {error.strerror or error}; set R2CMN_CACHE to a folder with room"
        raise OSError(error.errno, reason, str(cache.folder)) from error
    return cache


def trunk_digest(trunk: nn.Module) -> str:
    """Return a hash of the layers, weights and statistics of a trunk."""
    layers = re.sub(r" at 0x[0-9a-f]+", "", repr(trunk))  # an address differs from process to process
    digest = hashlib.blake2b(layers.encode(), digest_size=20)
    for name, value in trunk.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


@torch.no_grad()
def _features(backbone: FrozenTrunk, images: Tensor, precision: str) -> Tensor:
    weight = next(backbone.trunk.parameters(), images)
    with torch.autocast(weight.device.type, enabled=False):
        features = backbone.features(images.to(weight.device, weight.dtype))
    cached = features.to(getattr(torch, precision)).cpu()
    if not cached.isfinite().all():
        raise ValueError(
            f"data.cache_features={precision} cannot hold features as large as {features.abs().max():g}: "
            "set data.cache_features=float32"
        )
    return cached

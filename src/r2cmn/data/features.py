"""The features of a frozen trunk, computed once: training reads them instead of images and never runs the trunk.

They are right only where the trunk would say the same of an image in every epoch: its weights are frozen and nothing is
drawn at random, neither a crop nor a flip.

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

from r2cmn.data.images import Preparation, image_digest
from r2cmn.data.reports import collate_images
from r2cmn.data.shards import Shards, cache_dir
from r2cmn.data.views import StudyViews, read_images

PRECISIONS = ("none", "float16", "float32")
"""How the features of a frozen trunk are kept."""

_VERSION = 1  # of what a row of features holds
_STUDIES_PER_SHARD = 256  # 103 MB of float16 for two views of 224 pixels and a ResNet-101


class FrozenTrunk(Protocol):
    """What `r2cmn.backbone.Backbone` has."""

    frozen: bool
    trunk: nn.Module

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, I, 3, H, W) to features (B, S, F)."""


class StudyFeatures:
    """The features of each study, (S, F).

    Args:
        shards: where they are kept.
    """

    def __init__(self, shards: Shards):
        self.shards = shards

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> Tensor:
        return self.shards[index]


def check_frozen(backbone: Any) -> None:
    """Refuse a trunk whose features change, or cannot be had.

    Raises:
        ValueError: naming the option at fault.
    """
    if not all(hasattr(backbone, name) for name in ("frozen", "trunk", "features")):
        raise ValueError(
            f"data.cache_features: {type(backbone).__name__} has no 'trunk' with 'features' as "
            "r2cmn.backbone.Backbone has: set data.cache_features=none"
        )
    if not backbone.frozen:
        raise ValueError(
            "data.cache_features keeps what the trunk says of an image, but this trunk learns: "
            "set backbone.frozen=true, or data.cache_features=none"
        )


def read_features(
    backbone: FrozenTrunk, paths: Sequence[Path], preparation: Preparation, num_views: int, precision: str,
    batch_size: int = 16, num_workers: int = 0,
) -> StudyFeatures:  # fmt: skip
    """Return the features of studies, computed in float32 where they do not stand in `$R2CMN_CACHE/features` yet.

    They are bound to the weights of the trunk, the preparation, the image files and the precision. Processes that ask
    at once, such as those of DDP, share the work, each on its own device.

    Args:
        backbone: frozen, on the device that computes.
        paths: the images, those of a study one behind the other.
        preparation: of the images; nothing in it is random.
        num_views: images of a study.
        precision: "float16" or "float32".
        batch_size: studies that the trunk reads at once.
        num_workers: processes that decode meanwhile.

    Raises:
        ValueError: for a trunk that is not frozen, or whose features are beyond float16.
        OSError: where the disk has no room or may not be written.
    """
    check_frozen(backbone)
    views = StudyViews(read_images(paths, preparation), preparation.cut, num_views)

    def make(positions: range) -> list[Tensor]:
        loader: DataLoader[Tensor] = DataLoader(
            views,  # type: ignore[arg-type]  # its length is not asked for
            batch_size,
            sampler=positions,
            num_workers=num_workers,
            collate_fn=collate_images,
            # of its own, so that the run draws the same numbers whether or not there is something to compute
            generator=torch.Generator(),
        )
        return [row for images in loader for row in _features(backbone, images, precision)]

    digests = [image_digest(path) for path in paths]
    studies = [b"".join(digests[start : start + num_views]) for start in range(0, len(digests), num_views)]
    settings = f"features {_VERSION}, {preparation.name}, {precision}, {trunk_digest(backbone.trunk)}"
    folder = cache_dir() / "features"
    shards = Shards(folder, settings, studies, _STUDIES_PER_SHARD)
    try:
        shards.fill(make, "running the frozen trunk")
    except OSError as error:
        why = f"data.cache_features: {error.strerror or error}; set R2CMN_CACHE to a folder with room"
        raise OSError(error.errno, why, str(folder)) from error
    return StudyFeatures(shards)


def trunk_digest(trunk: nn.Module) -> str:
    """Return a text that changes with the layers of a trunk and with every weight and statistic."""
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
    kept = features.to(getattr(torch, precision)).cpu()
    if not kept.isfinite().all():
        raise ValueError(
            f"data.cache_features={precision} cannot hold this trunk's features, of up to {features.abs().max():g}: "
            "set data.cache_features=float32"
        )
    return kept

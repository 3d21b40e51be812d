"""A model's reading of some studies, which can be repeated with patches replaced.

Shapes: B studies, I views, S patches of all views, F features of a patch, R repetitions, W words, D `dim`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from r2cmn.types import Source

REPLACED = ("features", "pixels")
"""What of a patch is replaced: its features by their mean in the view, or its pixels by theirs."""


def patch_grid(num_patches: int, num_views: int) -> tuple[int, int]:
    """Return rows and columns of the patches of a view: a square, or one row if their number is no square.

    Raises:
        ValueError: if views have different numbers of patches.
    """
    of_view, left = divmod(num_patches, num_views)
    if left:
        raise ValueError(f"{num_patches} patches are not the same number for each of {num_views} views")
    side = math.isqrt(of_view)
    return (side, side) if side * side == of_view else (1, of_view)


class Reading:
    """The patches of a batch, from which reports are scored again after some patches are replaced.

    Features are replaced before the projection and the memory, where the trunk has features, else the patches are.

    Args:
        model: a `CMN` in evaluation mode.
        images: (B, I, 3, H, W), normalized, or cached features (B, S, F).
        num_views: I.
        batch_size: repetitions that are run at a time.

    Attributes:
        grid: rows and columns of the patches of a view.
        patches: (B, S, D).
        source: of the encoder.
    """

    def __init__(self, model: Any, images: Tensor, num_views: int, batch_size: int = 32) -> None:
        self.model = model
        self.images = images
        self.num_views = num_views
        self.batch_size = batch_size
        self._has_features = all(hasattr(model.backbone, name) for name in ("features", "project"))
        self._values = self._read(images)
        self.grid = patch_grid(self._values.shape[1], num_views)
        self.patches, self.source = self._encode(self._values)

    @property
    def num_patches(self) -> int:
        """S."""
        return self.patches.shape[1]

    def score(self, study: int, replaced: Tensor, tokens: Tensor, what: str = "features") -> Tensor:
        """Return the log-probabilities (R, W) of the tokens of a report, given those before, without some patches.

        Args:
            study: position of the study in the batch.
            replaced: (R, S) bool, the patches to replace in each repetition.
            tokens: (W,) of the report, without the opening 0.
            what: see `REPLACED`; "pixels" runs the trunk for each repetition.

        Raises:
            ValueError: if pixels are to be replaced, but the model was given features.
        """
        if what == "pixels" and self.images.dim() != 5:
            raise ValueError("pixels cannot be replaced: the features of the images were given, not the images")
        model = self.model
        read = F.pad(tokens, (1, 0))[:-1][None]
        words = model.memory.textual(model.encoder_decoder.embed(read, read.new_zeros(1)))  # the same each time
        found = []
        for part in replaced.split(self.batch_size):
            source = self._encode(self._without(study, part) if what == "features" else self._painted(study, part))[1]
            size = len(part)
            log_p = model.encoder_decoder.decode(read.expand(size, -1), words.expand(size, -1, -1), source)
            found.append(log_p.gather(-1, tokens.expand(size, -1)[..., None]).squeeze(-1))
        return torch.cat(found)

    def _read(self, images: Tensor) -> Tensor:
        """Return the features (B, S, F) of images, or if the backbone has none the patches (B, S, D)."""
        backbone = self.model.backbone
        values: Tensor = backbone.features(images) if self._has_features else backbone(images)
        return values

    def _encode(self, values: Tensor) -> tuple[Tensor, Source]:
        patches = self.model.backbone.project(values) if self._has_features else values
        return patches, self.model.encode_patches(patches, values)

    def _without(self, study: int, replaced: Tensor) -> Tensor:
        """Return features (R, S, F) in which some are the mean of their view."""
        views = self._values[study].unflatten(0, (self.num_views, -1))
        means = views.mean(1, keepdim=True).expand_as(views).flatten(0, 1)
        return torch.where(replaced[..., None], means, self._values[study])

    def _painted(self, study: int, replaced: Tensor) -> Tensor:
        """Return the features (R, S, F) of images in which the pixels of some patches are the mean of their view."""
        image = self.images[study]  # (I, 3, H, W)
        cells = replaced.to(image).view(len(replaced), self.num_views, *self.grid)
        if self.grid[0] == 1:
            raise ValueError("pixels cannot be replaced: the patches of a view are not a square")
        is_replaced = F.interpolate(cells, image.shape[-2:], mode="nearest-exact")[:, :, None] > 0
        return self._read(torch.where(is_replaced, image.mean((-2, -1), keepdim=True), image))

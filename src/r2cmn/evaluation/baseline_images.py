"""The training study that looks most like a test study, and whose report is then handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from r2cmn.data.images import ImageTransform, load_image
from r2cmn.data.reports import Study

Describe = Callable[[Tensor], Tensor]
"""Images of studies (B, I, 3, H, W), normalised -> one vector a study (B, F)."""

_SIDE = 32


class StudyImages(Dataset[Tensor]):
    """The views of studies, prepared as for a test: (I, 3, H, W) each.

    Args:
        studies: whose first `num_views` images are read.
        transform: its `evaluation` prepares an image.
        num_views: I.
    """

    def __init__(self, studies: Sequence[Study], transform: ImageTransform, num_views: int) -> None:
        self.studies = studies
        self.transform = transform
        self.num_views = num_views

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < len(self):
            raise IndexError(f"study {index} of {len(self)}")
        files = self.studies[index].images[: self.num_views]
        return torch.stack([self.transform.evaluation(load_image(file)) for file in files])


def batches(data: Any, studies: Sequence[Study], doing: str) -> Iterator[Tensor]:
    """Yield the images of studies in batches (B, I, 3, H, W), in order, behind a progress bar on a terminal.

    Args:
        data: a data module; its transform, number of views, batch size and number of workers are heeded.
        studies: of that data module.
        doing: what the progress bar says.
    """
    images = StudyImages(studies, data.transform, data.num_views)
    loader = DataLoader(images, data.batch_size, num_workers=data.num_workers)
    console = Console(stderr=True)
    yield from track(loader, description=doing, console=console, transient=True, disable=not console.is_terminal)


def pixels(images: Tensor) -> Tensor:
    """Describe studies by grey values at 32 x 32 pixels a view, less their mean: the cosine is a correlation then."""
    grey = images.mean(2)  # (B, I, H, W)
    small = functional.adaptive_avg_pool2d(grey, _SIDE).flatten(1)
    return small - small.mean(1, keepdim=True)


def patches(module: Any, device: torch.device) -> Describe:
    """Describe studies by the mean of the patches (Eq. 3) of all views, as a trained module's backbone sees them.

    Args:
        module: a `CMNModule` in evaluation mode on `device`.
        device: where it computes.
    """
    dtype = next(module.parameters()).dtype

    def describe(images: Tensor) -> Tensor:
        with torch.inference_mode():
            found = module.model.backbone(images.to(device, dtype))
        return found.mean(1).to(torch.promote_types(dtype, torch.float32))

    return describe


def nearest(queries: Iterator[Tensor], candidates: Iterator[Tensor], describe: Describe) -> list[int]:
    """Find the candidate with the highest cosine for each query; of equals the first.

    What is kept in memory are the vectors of the queries and of one batch of candidates.

    Args:
        queries: batches of images (B, I, 3, H, W).
        candidates: batches of images; at least one.
        describe: images -> vectors.

    Returns:
        The position among the candidates for each query.

    Raises:
        ValueError: without a candidate.
    """
    wanted = torch.cat([_unit(describe(images)) for images in queries])  # (Q, F)
    best = torch.full(wanted.shape[:1], -torch.inf, dtype=wanted.dtype, device=wanted.device)
    position = torch.full(wanted.shape[:1], -1, device=wanted.device)
    start = 0
    for images in candidates:
        cosine = wanted @ _unit(describe(images)).T  # (Q, B)
        value = cosine.max(1).values
        first = (cosine == value[:, None]).int().argmax(1)
        better = value > best
        best = torch.where(better, value, best)
        position = torch.where(better, first + start, position)
        start += len(images)
    if not start:
        raise ValueError("there is no training study to be the nearest")
    return position.tolist()


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=1)

"""Checks of a user's backbone, memory and encoder-decoder, for the user's own tests.

    from r2cmn.testing import check_memory

    def test_the_bank():
        check_memory(Bank(dim=16), dim=16)

Each check copies the part, converts the copy to float64, puts it into evaluation mode, and raises AssertionError or
`r2cmn.protocols.PartError` with a sentence. `r2cmn.testing.contract` has the contract of an encoder-decoder, a function
a sentence; r2cmn's own tests run it for each pair of its encoder-decoders and memories.

Shapes: B studies, I views, S patches of all views, T words, D `dim`, W columns of the output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from r2cmn.memory import NoMemory
from r2cmn.model import CMN
from r2cmn.protocols import check_model_shapes, check_part
from r2cmn.testing.contract import (
    CONTRACT,
    EXACT,
    MAX_COLUMNS,
    NUM_STUDIES,
    check_optimum,
    draw,
    draw_patches,
    exact,
    num_columns,
    vary,
)
from r2cmn.types import Backbone, EncoderDecoder, Memory

__all__ = ["Given", "check_backbone", "check_encoder_decoder", "check_memory"]


class Given(nn.Module):
    """A backbone that gets features (B, S, F) in place of images; patches are the features, or a map of them.

    Args:
        dim: D.
        feature_dim: F.
    """

    def __init__(self, dim: int, feature_dim: int) -> None:
        super().__init__()
        self.project = nn.Identity() if dim == feature_dim else nn.Linear(feature_dim, dim)

    def features(self, images: Tensor) -> Tensor:
        """Return the features (B, S, F)."""
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Return the patches (B, S, D)."""
        return self.project(images)


def check_backbone(backbone: nn.Module, image_size: int = 32, num_views: int = 2) -> None:
    """Check a backbone: shapes, one study at a time as in a batch, gradients, and the widths that it states.

    Args:
        backbone: images (B, I, 3, H, W) -> patches (B, S, D).
        image_size: H = W.
        num_views: I.
    """
    check_part(backbone, Backbone, "backbone")
    copied: Any = exact(backbone)
    images = draw(NUM_STUDIES, num_views, 3, image_size, image_size)
    patches = copied(images)
    assert isinstance(patches, Tensor), f"backbone returned a {type(patches).__name__}, not a tensor (B, S, D)"
    assert patches.dim() == 3, f"backbone returned {tuple(patches.shape)}, not (B, S, D)"
    assert len(patches) == NUM_STUDIES, f"backbone returned {len(patches)} rows for {NUM_STUDIES} studies"
    alone = torch.cat([copied(study[None]) for study in images])
    assert_close(alone, patches, rtol=0, atol=1e-9, msg="backbone: the patches of a study depend on its batch")
    width = getattr(copied, "patch_dim", patches.shape[-1])
    assert width == patches.shape[-1], f"backbone.patch_dim is {width}, but the patches have {patches.shape[-1]} values"
    if hasattr(copied, "features") and hasattr(copied, "project"):
        features = copied.features(images)
        assert_close(copied.project(features), patches, **EXACT, msg="backbone is not project(features(images))")
        width = getattr(copied, "feature_dim", features.shape[-1])
        assert width == features.shape[-1], f"backbone.feature_dim is {width}, not {features.shape[-1]}"
    _check_gradients(copied, patches, "backbone")


def check_memory(memory: nn.Module, dim: int) -> None:
    """Check a memory: shapes, studies and words that do not depend on each other, and gradients.

    Args:
        memory: an nn.Module with `visual` and `textual`.
        dim: D.
    """
    check_part(memory, Memory, "memory")
    copied: Any = exact(memory)
    features = draw(NUM_STUDIES, 5, dim)
    patches, words = copied.visual(features), copied.textual(features)
    for named, found in {"visual": patches, "textual": words}.items():
        assert found.shape == features.shape, f"memory.{named} returned {tuple(found.shape)} for {(*features.shape,)}"
    alone = torch.cat([copied.visual(study[None]) for study in features])
    assert_close(alone, patches, **EXACT, msg="memory.visual: the response to a study depends on its batch")
    one_by_one = torch.cat([copied.textual(features[:, i : i + 1]) for i in range(features.shape[1])], 1)
    assert_close(
        one_by_one, words, **EXACT, msg="memory.textual: the response to a word depends on the others of its report"
    )
    _check_gradients(copied, torch.cat([patches, words]), "memory")


def check_encoder_decoder(
    encoder_decoder: nn.Module, dim: int, feature_dim: int | None = None, memory: Memory | None = None
) -> None:
    """Check an encoder-decoder against the whole contract, with random weights around its own.

    With at most 6 columns of output, words and id 0, beam search is also compared with the search of all reports.

    Args:
        encoder_decoder: an nn.Module with the five methods of `r2cmn.types.EncoderDecoder`.
        dim: D, the width of patches and words.
        feature_dim: of the trunk's features, if `encode` reads them; default: `dim`.
        memory: between the parts; default: none.
    """
    check_part(encoder_decoder, EncoderDecoder, "encoder_decoder", ("features",))
    given: Any = encoder_decoder
    model = CMN(Given(dim, feature_dim or dim), memory or NoMemory(), given)
    patches = draw_patches(feature_dim or dim)
    with torch.no_grad():
        check_model_shapes(exact(model), patches[:1], 1)
        varied = vary(model, patches)
        for check in CONTRACT:
            check(varied, patches)
        if num_columns(varied, patches) <= MAX_COLUMNS:
            check_optimum(varied, patches)


def _check_gradients(part: nn.Module, output: Tensor, named: str) -> None:
    """Check that a gradient reaches each trainable parameter: without one, DDP stops."""
    trained = {name: parameter for name, parameter in part.named_parameters() if parameter.requires_grad}
    if not trained:
        return
    found = torch.autograd.grad(output.square().sum(), list(trained.values()), allow_unused=True)
    idle = [name for name, gradient in zip(trained, found, strict=True) if gradient is None]
    assert not idle, f"{named}: no gradient reaches {', '.join(idle)}"

"""Attention weights over the patches, shown to whoever watches; if nobody does, none are computed for it or kept.

Shapes: B studies, H heads, L words of each study (under teacher forcing) or its beams (in a step), S patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_SHOWN: ContextVar[list[Tensor] | None] = ContextVar("shown", default=None)


@contextmanager
def watch() -> Iterator[list[Tensor]]:
    """Collect what encoder-decoders show in this thread: for each call of `decode` or `step` one entry a layer.

    An entry is (B, H, L, S): the weights with which each word was chosen, the last word read is the one before it. The
    rows of a step are those of its output, (B, L) flattened. Each row adds up to 1, or to less if the attention has
    other places than patches. A model that attends once a sentence shows NaN for the words of a sentence that an
    earlier call began; see `filled`. A model without attention shows nothing.
    """
    shown: list[Tensor] = []
    before = _SHOWN.set(shown)
    try:
        yield shown
    finally:
        _SHOWN.reset(before)


def show(weights: Callable[[], Tensor]) -> None:
    """Show weights (B, H, L, S), which are made only if somebody watches."""
    if torch.compiler.is_compiling():
        return
    shown = _SHOWN.get()
    if shown is not None:
        shown.append(weights())


def filled(weights: Tensor) -> Tensor:
    """Give words (..., L, S) whose weights are NaN those of the word before."""
    places = torch.arange(weights.shape[-2], device=weights.device)
    last = torch.where(weights[..., 0].isnan(), 0, places).cummax(-1).values
    return weights.gather(-2, last[..., None].expand_as(weights))

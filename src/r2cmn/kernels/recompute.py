"""The first stage of a ResNet, run again in the backward pass instead of kept for it.

Its feature maps are the largest of a trunk and its convolutions few: figures in `benchmarks/README.md`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_recomputing(trunk: nn.Module, images: Tensor) -> list[Tensor] | None:
    """Run a trunk over images (B, 3, H, W) and keep of its first stage no more than what goes from block to block.

    The same function, gradients and running statistics, bit by bit.

    Returns:
        What the trunk returns; None where it is no ResNet of timm, or a module of its first stage bears a hook (which
        would be called twice), or nothing would be kept anyway.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    blocks, rest = _split(trunk)
    stem_and_stage = [module for block in blocks for module in block.modules()]
    if not any(parameter.requires_grad for module in stem_and_stage for parameter in module.parameters(recurse=False)):
        return None
    if any(_has_hooks(module) for module in (trunk, trunk.get_submodule("layer1"), *stem_and_stage)):
        return None
    features: Any = images
    for block in blocks:
        features = _run_again_later(block, features)
    return [rest(features)]


def _split(trunk: nn.Module) -> tuple[list[nn.Module], nn.Module]:
    """Split a ResNet into its stem, the blocks of its first stage, and all behind it; no blocks where it is none."""
    from timm.models.resnet import BasicBlock, Bottleneck

    children = dict(trunk.named_children())
    blocks = list(children["layer1"].children()) if "layer1" in children else []
    # Others may write over what a block was given, which is then gone when it runs again.
    if not blocks or not all(isinstance(block, BasicBlock | Bottleneck) for block in blocks):
        return [], trunk
    if list(getattr(trunk, "return_layers", ())) != list(children)[-1:]:
        return [], trunk
    modules, end = list(children.values()), list(children).index("layer1")
    # block by block: what is run again is held once more while its gradients are computed
    return [nn.Sequential(*modules[:end]), *blocks], nn.Sequential(*modules[end + 1 :])


def _run_again_later(block: nn.Module, features: Tensor) -> Tensor:
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    contexts = (contextlib.nullcontext(), _keeping_statistics(norms))
    result: Tensor = checkpoint(block, features, use_reentrant=False, context_fn=lambda: contexts)
    return result


def _has_hooks(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


@contextlib.contextmanager
def _keeping_statistics(norms: list[_BatchNorm]) -> Iterator[None]:
    """Let batch norms write to copies of their statistics, so that a batch is not counted twice."""
    buffers = [dict(norm._buffers) for norm in norms]
    try:
        for norm in norms:
            norm._buffers.update({name: None if kept is None else kept.clone() for name, kept in norm._buffers.items()})
        yield
    finally:
        for norm, kept in zip(norms, buffers, strict=True):
            norm._buffers.update(kept)

"""Three ways to run a convolutional trunk faster or in less memory, each the same function.

- Without gradients, on a CPU: batch norms are folded into convolutions, in 0.6 to 0.8 of the time. In evaluation mode a
  batch norm is a fixed affine map of each channel, so only rounding differs.
- With gradients: the first stage of a ResNet runs again in the backward pass. Its feature maps are the largest of the
  trunk and its convolutions few.
- Feature maps are laid out with the channels innermost if that is faster.

Figures in `benchmarks/README.md`.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from r2cmn.kernels.kept import Kept, stamp

log = logging.getLogger("r2cmn")


def run_trunk(
    trunk: nn.Module, images: Tensor, kept: Kept, channels_last: bool | None = None, recompute: bool = True
) -> Tensor:
    """Run a timm trunk over images (B, 3, H, W) and return its last feature map.

    Args:
        trunk: returns a list of feature maps.
        images: of one view.
        kept: holds the folded trunk.
        channels_last: see `r2cmn.backbone.Backbone`.
        recompute: whether the first stage of a ResNet may run again in the backward pass.
    """
    folded = fold_kept(trunk, kept)
    # Only the images are laid out, and the maps follow. Weights keep their layout: torch's fused optimizers misread the
    # state of a parameter that was saved in another one.
    last = folded is not None or _puts_channels_last(trunk, images, channels_last)
    images = images.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    running = trunk if folded is None else folded
    maps: list[Tensor] = (run_recomputing(running, images) if recompute else None) or running(images)
    return maps[-1]


# ---- batch norms folded into convolutions ----------------------------------------------------------------------------


def fold_kept(trunk: nn.Module, kept: Kept) -> nn.Module | None:
    """Return the folded form of a trunk, kept until the trunk changes; None if it must run as it is.

    It runs as it is with gradients, with hooks on its modules (a copy would not call them), if nothing can be folded,
    and on other devices than CPUs, where folding was not measured.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    state = _stamp(trunk)
    return None if state is None else kept.get(state, lambda: fold(trunk))


def fold(trunk: nn.Module) -> nn.Module | None:
    """Copy a trunk in evaluation mode and fold each batch norm that follows a convolution into it.

    Returns:
        The copy, laid out with channels innermost; None if nothing was folded, or if torch.fx cannot trace the trunk
        because its control flow depends on its input.
    """
    from torch.fx import symbolic_trace
    from torch.fx.experimental.optimization import fuse

    convolutions = [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]
    norms = sum(type(module) is nn.BatchNorm2d for module in trunk.modules())
    if not convolutions or not norms:
        return None
    try:
        with torch.inference_mode(False), torch.no_grad():
            dtype = convolutions[0].weight.dtype
            # multiplied in float64, so that each folded weight is rounded once
            folded = fuse(symbolic_trace(copy.deepcopy(trunk).double()), inplace=False).to(dtype)
    except Exception as error:  # tracing can fail in many ways; the trunk then runs as it is
        log.debug("the trunk was not folded: %s", error)
        return None
    if sum(type(module) is nn.BatchNorm2d for module in folded.modules()) == norms:
        return None
    return folded.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _stamp(trunk: nn.Module) -> Any:
    """Return the state of a trunk, for `Kept`; None if it may not be folded.

    It contains the sum of each tensor: reading the weights once costs little beside running the trunk.
    """
    epsilons = []
    for module in trunk.modules():
        if module.training or module._forward_hooks or module._forward_pre_hooks:
            return None
        epsilons.append(getattr(module, "eps", None))
    tensors: list[Tensor] = [*trunk.parameters(), *trunk.buffers()]
    versions = stamp(tensors)
    if versions is None or any(tensor.device.type != "cpu" for tensor in tensors):
        return None
    return versions, [float(tensor.sum()) for tensor in tensors], epsilons


# ---- the first stage run again in the backward pass ------------------------------------------------------------------


def run_recomputing(trunk: nn.Module, images: Tensor) -> list[Tensor] | None:
    """Run a ResNet over images (B, 3, H, W) and keep only the outputs of the blocks of its first stage.

    Outputs, gradients and running statistics are the same to the bit.

    Returns:
        What the trunk returns; None if it is no ResNet of timm, if a module of its first stage has a hook (which would
        be called twice), or if nothing would be kept anyway.
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
    """Split a ResNet into its stem and the blocks of its first stage, and the rest; no blocks if it is no ResNet."""
    from timm.models.resnet import BasicBlock, Bottleneck

    children = dict(trunk.named_children())
    blocks = list(children["layer1"].children()) if "layer1" in children else []
    # other blocks may overwrite their input in place, and could not run again
    if not blocks or not all(isinstance(block, BasicBlock | Bottleneck) for block in blocks):
        return [], trunk
    if list(getattr(trunk, "return_layers", ())) != list(children)[-1:]:
        return [], trunk
    modules, end = list(children.values()), list(children).index("layer1")
    # one block at a time: the maps of a block that runs again are held until its gradients are computed
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


# ---- the layout of feature maps --------------------------------------------------------------------------------------


def _puts_channels_last(trunk: nn.Module, images: Tensor, asked: bool | None) -> bool:
    if images.device.type == "cpu" and any(map(_breaks_channels_last, trunk.modules())):
        return False
    if asked is not None:
        return asked
    is_wide = torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AVX10"))
    is_measured = is_wide and images.device.type == "cpu" and images.dtype == torch.float32
    return is_measured and any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())


def _breaks_channels_last(module: nn.Module) -> bool:
    """Find convolutions whose backward pass, channels last, writes past its workspace and corrupts the heap.

    oneDNN's issue 6035, also in torch 2.14: one pixel wide, with a stride, and fewer than 16 input channels.
    """
    if not isinstance(module, nn.Conv2d) or module.kernel_size != (1, 1):
        return False
    return module.stride != (1, 1) and module.in_channels < 16

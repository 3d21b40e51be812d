"""A trunk in evaluation mode as a processor runs it fastest: batch norms folded into convolutions, channels innermost.

While nothing is learnt, batch norm is a fixed affine map of each channel and can be multiplied into the convolution
before it: the same function, but for rounding, in 0.6 to 0.8 of the time on a CPU (`benchmarks/README.md`).
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger("r2cmn")


class Folded:
    """Keeps the folded form of a trunk for as long as the trunk does not change."""

    def __init__(self) -> None:
        self._kept: tuple[Any, nn.Module | None] | None = None

    def of(self, trunk: nn.Module) -> nn.Module | None:
        """Return the folded form of a trunk; None where there is nothing to fold, or it must run as it is.

        It runs as it is while it learns or is differentiated through, where a module of it bears a hook (which a copy
        would not call), and off the CPU, where nothing was measured.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return None
        stamp = _stamp(trunk)
        if stamp is None:
            return None
        if self._kept is None or self._kept[0] != stamp:
            self._kept = (stamp, fold(trunk))
        return self._kept[1]


def fold(trunk: nn.Module) -> nn.Module | None:
    """Copy a trunk in evaluation mode, with each batch norm that alone reads a convolution folded into it.

    Returns:
        The copy, its feature maps laid out with channels innermost; None where nothing was folded, or where the trunk's
        course depends on its input, so that torch.fx cannot follow it.
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
    except Exception as error:  # whatever tracing stumbles over, the trunk runs as it is
        log.debug("the trunk was not folded: %s", error)
        return None
    if sum(type(module) is nn.BatchNorm2d for module in folded.modules()) == norms:
        return None
    return folded.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _stamp(trunk: nn.Module) -> Any:
    """Tell one state of a trunk from another; None where it may not be folded.

    Sums beside versions, because weights written through `.data` bear no new version; reading every weight once is
    little beside what running a trunk takes.
    """
    epsilons = []
    for module in trunk.modules():
        if module.training or module._forward_hooks or module._forward_pre_hooks:
            return None
        epsilons.append(getattr(module, "eps", None))
    tensors: list[Tensor] = [*trunk.parameters(), *trunk.buffers()]
    if any(tensor.device.type != "cpu" or tensor.is_inference() for tensor in tensors):
        return None
    states = tuple((tensor.data_ptr(), tensor._version, tensor.dtype, float(tensor.sum())) for tensor in tensors)
    return states, tuple(epsilons)

"""The fused kernels of torch's optimizers: a third of the time of a step, and no wait for the host on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from r2cmn.build import has_option

if TYPE_CHECKING:
    import pytorch_lightning as pl


def fused_options(optimizer: type, model: nn.Module, trainer: pl.Trainer | None) -> dict[str, Any]:
    """Return `{"fused": True}` if an optimizer has such a kernel for a model and a trainer takes it, else {}.

    It does not with float16's gradient scaler, which a fused step unscales itself, nor with clipping under autocast,
    which Lightning refuses for a fused step.

    Args:
        optimizer: the class.
        model: whose parameters it updates.
        trainer: of the training, if there is one.
    """
    refusing = ["16-mixed", "bf16-mixed"] if trainer is not None and trainer.gradient_clip_val else ["16-mixed"]
    scaled = trainer is not None and str(trainer.precision) in refusing
    on = {parameter.device.type for parameter in model.parameters()}
    return {"fused": True} if has_option(optimizer, "fused") and not scaled and on <= {"cpu", "cuda"} else {}

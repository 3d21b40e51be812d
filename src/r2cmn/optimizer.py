"""The optimizer of a model from its description: two groups, the trunk and the rest, and a schedule."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from torch import nn

from r2cmn.build import build, find_class
from r2cmn.kernels.fused import fused_options
from r2cmn.types import Config

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from r2cmn.model import CMN

# The paper, section 3.3: Adam, 5e-5 for the visual extractor and 1e-4 for the rest, times 0.8 an epoch.
OPTIMIZER: Config = {
    "_target_": "torch.optim.Adam",
    "lr": 1e-4,
    "backbone_lr": 5e-5,
    "schedule": {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1, "gamma": 0.8},
}


def make_optimizer(description: Config | None, model: CMN, trainer: pl.Trainer | None) -> Any:
    """Build what Lightning's `configure_optimizers` returns.

    Args:
        description: of a torch optimizer, also with `backbone_lr` for the trunk and a `schedule`; None for the paper's.
        model: whose parameters it updates; a backbone without a `trunk` is all trunk.
        trainer: of the training, if there is one.
    """
    description = copy.deepcopy(description or OPTIMIZER)
    backbone_lr = description.pop("backbone_lr", description.get("lr"))
    schedule = description.pop("schedule", None)
    trunk_part: Any = getattr(model.backbone, "trunk", model.backbone)
    every = list(trunk_part.parameters()) if isinstance(trunk_part, nn.Module) else []
    trunk, in_trunk = [p for p in every if p.requires_grad], {id(p) for p in every}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in in_trunk]
    groups = [{"params": rest, "name": "rest"}]
    if trunk:
        groups.insert(0, {"params": trunk, "name": "backbone", "lr": backbone_lr})
    kernel = fused_options(find_class(description["_target_"]), model, trainer)
    optimizer = build({**kernel, **description}, "optimizer", params=groups)
    if schedule is None:
        return optimizer
    return [optimizer], [{"scheduler": build(schedule, "optimizer.schedule", optimizer=optimizer), "name": "lr"}]

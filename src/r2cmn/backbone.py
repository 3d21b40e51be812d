"""From images to patches, Eq. 3: a timm trunk and a projection to the model's dimension.

Shapes: B studies, I views, P patches a view, F features of the trunk, D `dim`.
"""

from __future__ import annotations

import difflib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from r2cmn.described import Described
from r2cmn.files import expand_user
from r2cmn.files.weights import find_damage, find_nonfinite
from r2cmn.kernels.dropout import Dropout
from r2cmn.kernels.kept import Kept
from r2cmn.kernels.trunk import run_trunk

_CONNECT_SECONDS = 5
_WAYS_OUT = "give backbone.pretrained=/path/to/weights (.pth or .safetensors) or backbone.pretrained=false"


class Backbone(Described, nn.Module):
    """The visual extractor f_v of section 2.1: the last feature map of a trunk, row by row, one view after another.

    Args:
        name: any timm model that can return features: a ResNet, VGG, DenseNet, ConvNeXt, ViT, Swin, ...
        dim: D.
        pretrained: True downloads timm's weights (or takes them from the local cache), False starts at random, a path
            reads a .pth or .safetensors file in timm's or torchvision's naming, or the trunk of a checkpoint of r2cmn.
        frozen: the trunk is not trained and stays in evaluation mode; the projection is trained.
        dropout: after the projection; 0.5 in the released code.
        projection: "relu": Linear, ReLU and dropout, as released; "linear": Linear alone; None: patches are the trunk's
            features, and `dim` has no effect.
        image_size: H = W of the images; used only by trunks that are built for one size, such as ViT and Swin.
        channels_last: lay out the trunk's feature maps with the channels innermost; the same function and the same
            checkpoints, faster on some devices (`docs/train/speed.md`). None does so only in the case that was measured
            to be faster: in float32, on a CPU with AVX512, for a trunk with batch norms. Ignored on a CPU without
            gradients, because a folded trunk always has this layout, and for small trunks that oneDNN fails on
            (`r2cmn.kernels.trunk`).

    Raises:
        ValueError: if timm has no such trunk, or its weights cannot be loaded.
    """

    # class attributes, also for a subclass that builds its own trunk
    channels_last: bool | None = None
    recompute: bool = True
    """Run the first stage of a ResNet again in the backward pass, see `r2cmn.kernels.trunk`."""

    def __init__(
        self,
        name: str = "resnet101",
        dim: int = 512,
        pretrained: bool | str = True,
        frozen: bool = False,
        dropout: float = 0.5,
        image_size: int = 224,
        channels_last: bool | None = None,
        projection: Literal["relu", "linear"] | None = "relu",
    ) -> None:
        super().__init__()
        if projection not in ("relu", "linear", None):
            raise ValueError(f"backbone.projection must be relu, linear or null, not {projection!r}")
        self.trunk = _create_trunk(name, pretrained, image_size)
        self.kept = Kept()
        self.channels_last = channels_last
        self.frozen = frozen
        self.feature_dim: int = self.trunk.feature_info.channels()[-1]
        """F, the width of the trunk's features."""
        self.patch_dim: int = self.feature_dim if projection is None else dim
        """The width of the patches: D, or F without a projection."""
        # Departs from the paper: Eq. 3 has no projection; "relu" is the released code's.
        steps = {"relu": [nn.ReLU(), Dropout(dropout)], "linear": []}
        self.projection = nn.Sequential(
            *([] if projection is None else [nn.Linear(self.feature_dim, dim), *steps[projection]])
        )
        if frozen:
            self.trunk.requires_grad_(False)
            self.trunk.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, I, 3, H, W), or their cached features (B, I * P, F), to patches (B, I * P, D), Eq. 3."""
        return self.project(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Run the trunk over images (B, I, 3, H, W): (B, I * P, F), which may be cached if the trunk is frozen.

        Features that were cached, (B, I * P, F), return as they are, in the precision of the weights.
        """
        if images.dim() == 3:  # cached features may have a lower precision than the projection
            return images.to(next(self.parameters()).dtype)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self._shares_statistics():
                # one view at a time, as in the released code: separate batch statistics for frontal and lateral views
                return torch.cat([self._patches(view) for view in images.unbind(1)], dim=1)
            batch, num_views = images.shape[:2]
            return self._patches(images.flatten(0, 1)).unflatten(0, (batch, num_views)).flatten(1, 2)

    def project(self, features: Tensor) -> Tensor:
        """Map the trunk's features (B, S, F) to patches (B, S, D)."""
        return self.projection(features)

    def train(self, mode: bool = True) -> Backbone:
        """Switch to training mode, except a frozen trunk."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def _patches(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to their patches in row-major order (B, P, F)."""
        if not hasattr(self, "kept"):  # a subclass that builds its own trunk
            self.kept = Kept()
        feature_map = run_trunk(self.trunk, images, self.kept, self.channels_last, self.recompute)
        if getattr(self.trunk, "output_fmt", "NCHW") == "NHWC":
            return feature_map.flatten(1, 2)
        return feature_map.flatten(2).transpose(1, 2)

    def _shares_statistics(self) -> bool:
        return any(isinstance(module, _BatchNorm) and module.training for module in self.trunk.modules())


def _create_trunk(name: str, pretrained: bool | str, image_size: int) -> Any:
    """Build a timm trunk that returns a list with its last feature map."""
    import timm  # takes seconds

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() names them all"
        raise ValueError(f"backbone.name: timm has no model '{name}'; {hint}")
    cfg = timm.models.get_pretrained_cfg(name)
    options: dict[str, Any] = {"features_only": True, "out_indices": [-1]}
    if cfg is not None and cfg.fixed_input_size:
        options["img_size"] = image_size
    if isinstance(pretrained, str):
        trunk = timm.create_model(name, pretrained=False, **options)
        _load_file(trunk, expand_user(pretrained), name)
        return trunk
    if pretrained:
        options["pretrained_cfg_overlay"] = _locate_weights(cfg, name)
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except OSError as error:
        raise ValueError(
            f"backbone.pretrained: the weights of '{name}' could not be fetched ({type(error).__name__}): {_WAYS_OUT}"
        ) from error


def _locate_weights(cfg: Any, name: str) -> dict[str, str]:
    """Return the options of timm for weights in the local cache; {} to download them from its hub.

    Raises:
        ValueError: if there are none, or the hub cannot be reached; within seconds, while the hub's own client would
            retry for a minute.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if cfg is None or not (cfg.hf_hub_id or cfg.url or cfg.file):
        raise ValueError(f"backbone.pretrained: timm has no weights for '{name}': {_WAYS_OUT}")
    if not cfg.hf_hub_id:
        return {}
    for filename in ("model.safetensors", "pytorch_model.bin"):
        cached = try_to_load_from_cache(cfg.hf_hub_id, cfg.hf_hub_filename or filename)
        if isinstance(cached, str):
            return {"file": cached}
    if constants.HF_HUB_OFFLINE or not _is_reachable(constants.ENDPOINT):
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        raise ValueError(
            f"backbone.pretrained: the weights of '{name}' are not in the local cache and {why}: {_WAYS_OUT}"
        )
    return {}


def _is_reachable(address: str) -> bool:
    """Return whether anything answers, through the environment's proxy if there is one."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_CONNECT_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # an error page is an answer
    except OSError:
        return False


def _load_file(trunk: Any, path: Path, name: str) -> None:
    """Load every parameter and buffer of the trunk from a file, which may contain more, such as a classifier.

    Raises:
        ValueError: if the file cannot be read, or lacks a tensor of the trunk, or has one of another shape.
    """
    import timm

    if not path.is_file():
        raise ValueError(f"backbone.pretrained: there is no file '{path}'")
    damage = find_damage(path)
    if damage is not None:
        raise ValueError(f"backbone.pretrained: '{path}' is damaged: {damage}")
    try:
        found = {_plain(key): value for key, value in timm.models.load_state_dict(str(path), weights_only=True).items()}
    except Exception as error:  # torch's own text recommends to open the file without its safe loader
        raise ValueError(
            f"backbone.pretrained: '{path}' is not a file of weights, or holds more than plain data"
        ) from error
    filled = {}
    for key, value in trunk.state_dict().items():
        tensor = found.get(_plain(key))
        if tensor is None and key.endswith("num_batches_tracked"):
            tensor = value  # older files lack this counter
        if tensor is None or tensor.shape != value.shape:
            what = "has no" if tensor is None else f"has {tuple(tensor.shape)}, not {tuple(value.shape)}, for"
            raise ValueError(f"backbone.pretrained: '{path}' does not fit '{name}': it {what} '{key}'")
        filled[key] = tensor
    fault = find_nonfinite(filled.items())
    if fault is not None:
        raise ValueError(f"backbone.pretrained: '{path}' cannot be used: {fault}")
    trunk.load_state_dict(filled)


def _plain(key: str) -> str:
    """Unify the keys of files of timm and torchvision, of wrapped trunks, and of checkpoints of r2cmn."""
    return key.removeprefix("model.backbone.trunk.").removeprefix("model.").replace(".", "_")

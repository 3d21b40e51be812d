"""The paper in one class, and how it is built from descriptions.

Shapes: B studies, I views, S patches of all views, T words, D `dim`, W columns of the output.
"""

from __future__ import annotations

import inspect
from typing import Any, cast

import torch
from torch import Tensor, nn

from r2cmn.build import DescriptionError, build, check_allowed, find_class, has_option
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.kernels.pairs import unique_pairs
from r2cmn.memory import MemoryNetwork
from r2cmn.protocols import check_part
from r2cmn.types import Backbone, Config, EncoderDecoder, FeaturesBackbone, Memory, QueriedMemory, Source, State


class CMN(nn.Module):
    """Figure 2 of the paper: a visual extractor, a memory for both modalities, an encoder and a decoder.

    Args:
        backbone: images (B, I, 3, H, W) -> patches (B, S, D); `r2cmn.backbone.Backbone` also takes cached features of
            its trunk (B, S, F). For an encoder-decoder whose `encode` has a parameter `features`, a `FeaturesBackbone`;
            without its two methods, the patches are also the features.
        memory: an nn.Module that responds to patches and words (B, S or T, D).
        encoder_decoder: an nn.Module that reads patches and writes words.

    Raises:
        PartError: if a part lacks a method of its protocol.
    """

    def __init__(self, backbone: Backbone, memory: Memory, encoder_decoder: EncoderDecoder) -> None:
        super().__init__()
        check_part(memory, Memory, "memory")
        check_part(encoder_decoder, EncoderDecoder, "encoder_decoder", ("features",))
        self.reads_features = has_option(encoder_decoder.encode, "features")
        self._has_features = hasattr(backbone, "features") or hasattr(backbone, "project")
        needs_features = self.reads_features and self._has_features
        check_part(backbone, FeaturesBackbone if needs_features else Backbone, "backbone")
        self.backbone = backbone
        self.memory = memory
        self.encoder_decoder = encoder_decoder

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Teacher forcing: images (B, I, 3, H, W), tokens (B, T) -> log-probabilities (B, T, W), Eqs. 3-15."""
        return self.decode(tokens, self.encode(images))

    def encode(self, images: Tensor) -> Source:
        """Read images (B, I, 3, H, W)."""
        if self.reads_features and self._has_features:
            backbone = cast("FeaturesBackbone", self.backbone)
            features = backbone.features(images)
            return self.encode_patches(backbone.project(features), features)
        patches = self.backbone(images)  # Eq. 3
        return self.encode_patches(patches, patches)

    def encode_patches(self, patches: Tensor, features: Tensor | None = None) -> Source:
        """Read patches (B, S, D), and if `reads_features` the trunk's features (B, S, F) of the same patches."""
        responses = self.memory.visual(patches)  # Eqs. 4, 5, 7, 9, 11, 12
        if self.reads_features:
            return self.encoder_decoder.encode(responses, features)  # type: ignore[call-arg]
        return self.encoder_decoder.encode(responses)  # Eq. 14

    def decode(self, tokens: Tensor, source: Source) -> Tensor:
        """Write under teacher forcing: tokens (B, T) from position 0 -> log-probabilities (B, T, W)."""
        words = self.encoder_decoder.embed(tokens, tokens.new_zeros(1))
        responses = self.memory.textual(words)  # Eqs. 4, 6, 8, 10, 11, 13
        return self.encoder_decoder.decode(tokens, responses, source)  # Eq. 15

    def start(self, source: Source) -> State:
        """Return the state before the first word."""
        return self.encoder_decoder.start(source)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one word (B,) of every report; return log-probabilities (B, W) of the next word, and the next state.

        Only the newest word is embedded and sent to the memory: its response depends on nothing else. Rows that read
        the same word at the same position, as most beams do, therefore share one response.
        """
        position = state["position"]
        # dropout differs by row; a GPU is faster without the search, whose result has no shape that can be exported
        if self.training or tokens.device.type != "cpu" or torch.compiler.is_compiling():
            words = self.encoder_decoder.embed(tokens[:, None], position)
            return self.encoder_decoder.step(tokens, self.memory.textual(words), state)
        positions, distinct, row = unique_pairs(position, tokens)
        words = self.encoder_decoder.embed(distinct[:, None], positions)
        return self.encoder_decoder.step(tokens, self.memory.textual(words)[row], state)


def build_model(
    model: Config, tokenizer: Tokenizer, annotations: Config | None = None, image_size: int | None = None
) -> CMN:
    """Build the composite model from the descriptions of its three parts.

    Args:
        model: `backbone`, `memory` and `encoder_decoder`, each a description, and optionally `init`, which is applied
            to the model last.
        tokenizer: of the reports. The encoder-decoder's constructor gets it, its `vocabulary_size` (V+1), the
            backbone's `feature_dim` and `patch_dim`, and the annotations if it names them.
        annotations: made by the encoder-decoder of the training reports (`r2cmn.encoder_decoder.wording.annotate`).
        image_size: H = W; a backbone that does not state its widths is run once on such an image, if they are needed.

    Raises:
        DescriptionError: if a part is missing or a description does not fit its class.
        ValueError: if values do not fit each other; the message names the key.
    """
    check_allowed(model)
    for part in ("backbone", "memory", "encoder_decoder"):
        if part not in model:
            raise DescriptionError(f"the model has no '{part}': it needs backbone, memory and encoder_decoder")
    backbone, memory = build(model["backbone"], "backbone"), build(model["memory"], "memory")
    _check_width(backbone, memory, model["encoder_decoder"])
    offered: Config = {"tokenizer": tokenizer, "vocabulary_size": tokenizer.vocabulary_size}
    offered |= _find_widths(backbone, model["encoder_decoder"], image_size)
    if annotations is not None:
        offered["annotations"] = annotations
    cmn = CMN(
        backbone,
        memory,
        build(model["encoder_decoder"], "encoder_decoder", offered),
    )
    if "init" in model:
        build(model["init"], "init")(cmn)
    return cmn


def _find_widths(backbone: Any, encoder_decoder: Config, image_size: int | None) -> dict[str, int]:
    """Return the widths of features and patches that an encoder-decoder's constructor names.

    Raises:
        ValueError: if it needs one that is neither stated nor found by running the backbone.
    """
    found = {name: getattr(backbone, name) for name in ("feature_dim", "patch_dim") if hasattr(backbone, name)}
    cls = find_class(encoder_decoder["_target_"])
    parameters = inspect.signature(cls).parameters
    for name, run in {"feature_dim": getattr(backbone, "features", None), "patch_dim": backbone}.items():
        if name in found or name in encoder_decoder or name not in parameters:
            continue
        if run is not None and image_size is not None:
            found[name] = _run_width(backbone, run, image_size)
        elif parameters[name].default is inspect.Parameter.empty:
            raise ValueError(
                f"encoder_decoder.{name}: {cls.__name__} needs the width of the backbone's "
                f"{'patches' if name == 'patch_dim' else 'features'}: give {type(backbone).__name__} an attribute "
                f"{name}, or set encoder_decoder.{name}"
            )
    return found


def _run_width(backbone: nn.Module, run: Any, image_size: int) -> int:
    was_training, weight = backbone.training, next(backbone.parameters(), torch.empty(0))
    backbone.eval()
    with torch.no_grad():
        width: int = run(weight.new_zeros(1, 1, 3, image_size, image_size)).shape[-1]
    backbone.train(was_training)
    return width


def _check_width(backbone: nn.Module, memory: Memory, encoder_decoder: Config) -> None:
    """Raise ValueError if the patches have another width than the memory, or than an encoder-decoder of one width."""
    widths = {"memory.dim": memory.visual_network.query.in_features} if isinstance(memory, QueriedMemory) else {}
    if "dim" in encoder_decoder and not has_option(find_class(encoder_decoder["_target_"]), "patch_dim"):
        widths["encoder_decoder.dim"] = encoder_decoder["dim"]
    for key, width in widths.items():
        if getattr(backbone, "patch_dim", width) != width:
            raise ValueError(
                f"{key} is {width}, but the patches have {backbone.patch_dim} values: set backbone.projection to "
                f"linear or relu, and backbone.dim to {key}"
            )


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Count a model's parameters.

    Returns:
        `total`, `trainable`, `memory`, and of the memory `matrix` (N x D, twice for `separate`) and `projections`, the
        rest.
    """
    memory = getattr(model, "memory", nn.Module())
    networks = [network for network in memory.modules() if isinstance(network, MemoryNetwork)]
    count = {
        "total": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "memory": sum(p.numel() for p in memory.parameters()),
        "matrix": sum(network.matrix.numel() for network in networks),
    }
    return {**count, "projections": count["memory"] - count["matrix"]}

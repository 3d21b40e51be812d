"""Writing reports by beam search against the released arithmetic: `python -m benchmarks.generation [--json]`.

The end is made all but impossible, so that every beam runs to the last word on both sides. `call` is the whole call,
images to words; `words` begins at the trunk's patches, which both sides compute alike. `--variants` adds our call under
bfloat16 autocast, as `trainer.precision=bf16-mixed` has it: images are read in bfloat16, words written in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Row, alternate, arguments, matmul_peak, megabytes, operations, ready, show
from benchmarks.released import Released
from r2cmn.backbone import Backbone
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.generation import BeamSearch
from r2cmn.memory import CrossModalMemory
from r2cmn.model import CMN

VOCABULARY = 761
NEVER = -50.0


class Patches(nn.Module):
    """Stands in for a trunk whose patches (B, 49 * I, D) are known."""

    def features(self, images: Tensor) -> Tensor:
        """Return a view's patches."""
        return images[:, :, 0, :49, :512].flatten(1, 2)

    def project(self, features: Tensor) -> Tensor:
        """Return them as they are."""
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return the patches of all views."""
        return self.features(images)


def model_and_images(trunk: str | None, batch: int, views: int) -> tuple[CMN, Tensor]:
    """Build a model of the paper's size whose reports do not end; without a trunk the images are patches."""
    torch.manual_seed(0)
    backbone = Backbone(trunk, pretrained=False) if trunk else Patches()
    model = CMN(backbone, CrossModalMemory(), Transformer(VOCABULARY)).eval()
    with torch.no_grad():
        model.encoder_decoder.output.bias[0] = NEVER  # type: ignore[index,union-attr]
    return model, torch.randn(batch, views, 3, *((224, 224) if trunk else (49, 512)))


def prepare(
    side: str, trunk: str | None, batch: int = 16, views: int = 1, num_beams: int = 3, length: int = 60
) -> Callable[[], Any]:
    """Return one call of a side: `ours`, `ours, bf16` or `released`."""
    return call(side, *model_and_images(trunk, batch, views), num_beams, length)


def call(side: str, model: CMN, images: Tensor, num_beams: int = 3, length: int = 60) -> Callable[[], Tensor]:
    """Return one call of a model: as released if the side's name begins so, images in bfloat16 if it says bf16."""
    search = BeamSearch(num_beams, length)

    @torch.inference_mode()
    def write() -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled="bf16" in side):
            source = model.encode(images)
        return search(model.step, model.start({name: value.float() for name, value in source.items()})).tokens

    @torch.inference_mode()
    def write_as_released() -> Tensor:
        return Released(model).search(images, num_beams, length)[0]

    return write_as_released if side.startswith("released") else write


def measure(name: str, given: tuple[Any, ...], variants: list[str], options: Any, peak: float) -> list[Row]:
    """Time our variants and the released side, which in float32 must write the same words."""
    sides = {side: prepare(side, *given) for side in (*variants, "released")}
    # ours warms up on its own: what the released side does once more would take longer than all of ours
    words = {side: run() for side, run in sides.items()}
    same = {side: (words[side] == words["released"]).all(1).double().mean().item() for side in variants}
    assert same["ours"] == 1, "the sides write different words"
    seconds, count = alternate(sides, options.rounds, warm=0), operations(sides["ours"])
    rows: list[Row] = []
    peaks = {side: megabytes(prepare, side, *given)[0] for side in sides} if options.memory else {}
    for side in variants:
        row: Row = {
            "what": name + side.removeprefix("ours"),
            "ours, s": seconds[side],
            "released, s": seconds["released"],
        }
        row |= {"ratio": seconds["released"] / seconds[side]}
        row |= {"share of peak": count / seconds[side] / peak, "same reports": same[side]}
        if options.memory:
            row |= {"ours, MB": peaks[side], "released, MB": peaks["released"]}
        rows.append(row)
    return rows


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--trunk", default="resnet101")
    parser.add_argument("--only", choices=["call", "words"])
    parser.add_argument("--memory", action="store_true", help="also the peak memory, in processes of their own")
    parser.add_argument("--variants", action="store_true", help="also the call with images read in bfloat16")
    options = parser.parse_args()
    ready(options)
    peak, rows = matmul_peak(), []
    for name, trunk in (("call", options.trunk), ("words", None)):
        if options.only in (None, name):
            variants = ["ours", "ours, bf16"] if options.variants and trunk else ["ours"]
            rows += measure(name, (trunk, options.batch, 1, 3, options.length), variants, options, peak)
    show(rows, options.json, peak)


if __name__ == "__main__":
    main()

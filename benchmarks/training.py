"""One training step at the paper's size against the released arithmetic: `python -m benchmarks.training [--json]`.

Forward, backward and the released optimizer (Adam, amsgrad), on our side torch's fused kernel of it. `--variants` adds
bfloat16 autocast and both layouts of feature maps; `--trunk none` begins at the trunk's patches.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.generation import VOCABULARY, Patches
from benchmarks.measure import Row, alternate, arguments, matmul_peak, megabytes, operations, ready, show
from benchmarks.released import Released
from r2cmn.backbone import Backbone
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.memory import CrossModalMemory
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy
from r2cmn.types import Batch

ADAM: dict[str, Any] = {"lr": 1e-4, "betas": (0.9, 0.98), "eps": 1e-9, "weight_decay": 5e-5, "amsgrad": True}


def prepare(side: str, trunk: str | None, length: int = 60, views: int = 1, batch: int = 16) -> Callable[[], None]:
    """Return one step of a side: `released`, `ours`, or ours with `bf16`, `channels first` or `channels last`."""
    torch.manual_seed(0)
    # the released side as it is, ours as it decides by itself unless its name says otherwise
    last = "last" in side if side != "ours" and side != "ours, bf16" else None
    backbone = Backbone(trunk, pretrained=False, channels_last=last) if trunk else Patches()
    backbone.recompute = side != "released"
    model = CMN(backbone, CrossModalMemory(), Transformer(VOCABULARY)).train()
    images = torch.randn(batch, views, 3, *((224, 224) if trunk else (49, 512)))
    tokens = torch.randint(1, VOCABULARY, (batch, length))
    tokens[:, 0] = 0
    return step(side, model, Batch(torch.arange(batch), images, tokens))


def step(side: str, model: CMN, data: Batch) -> Callable[[], None]:
    """Return one step of a model on a batch: as released if the side's name begins so, in bfloat16 if it says bf16."""
    context, is_released = SimpleNamespace(model=model), side.startswith("released")
    optimizer = torch.optim.Adam(model.parameters(), **ADAM, fused=None if is_released else True)
    for parameter in model.parameters():  # makes the optimizer's state, as in every step but the first
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast(data.tokens.device.type, torch.bfloat16, enabled="bf16" in side):
            loss = Released(model).loss(data) if is_released else CrossEntropy()(context, data)
        loss.backward()
        optimizer.step()

    return run


def measure(given: tuple[Any, ...], sides: list[str], rounds: int, peak: float, with_memory: bool) -> list[Row]:
    """Time the sides in turn; the first is the released one."""
    runs = {side: prepare(side, *given) for side in sides}
    seconds, rows = alternate(runs, rounds), []
    shares = {side: operations(run) / seconds[side] / peak for side, run in runs.items()}
    del runs
    peaks = {side: megabytes(prepare, side, *given)[0] for side in sides} if with_memory else {}
    for side in sides:
        row: Row = {"trunk": given[0] or "none", "L": given[1], "views": given[2], "side": side, "s": seconds[side]}
        row |= {"ratio": seconds[sides[0]] / seconds[side], "share of peak": shares[side]}
        if with_memory:
            row |= {"peak MB": peaks[side], "of released": peaks[side] / peaks[sides[0]]}
        rows.append(row)
    return rows


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--length", type=int, nargs="+", default=[60, 100])
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--trunk", nargs="+", default=["resnet101", "none"])
    parser.add_argument("--variants", action="store_true", help="also bf16, and channels first and last")
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory")
    options = parser.parse_args()
    ready(options)
    peak, rows = matmul_peak(), []
    for trunk in options.trunk:
        sides = ["released", "ours"]
        if options.variants:
            layouts = ["ours, channels first", "ours, channels last"] if trunk != "none" else []
            sides += [f"{side}{bf16}" for side in layouts or ["ours"] for bf16 in ("", ", bf16")]
            sides = list(dict.fromkeys(sides))
        for length in options.length:
            given = (None if trunk == "none" else trunk, length, options.views, options.batch)
            rows += measure(given, sides, options.rounds, peak, not options.no_memory)
    show(rows, options.json, peak)


if __name__ == "__main__":
    main()

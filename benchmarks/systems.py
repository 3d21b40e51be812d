"""Studies a second of trained systems, in training and in generation: `python -m benchmarks.systems CHECKPOINT ...`.

Each checkpoint is of a small run on phantoms (`experiment=[table3,small]`). Training is forward, backward and Adam on
the features of a frozen trunk, which are computed once, before; generation writes reports with the checkpoint's own
settings, from such features and from images. Lengths are those that the trained system writes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from benchmarks.measure import Row, alternate, arguments, matmul_peak, ready, show
from r2cmn import CMNModule, compose
from r2cmn.build import build
from r2cmn.config import plain
from r2cmn.encoder_decoder.wording import rewrites, to_targets
from r2cmn.types import Batch, Hypotheses


def read(module: CMNModule, batch: int, studies: int, overrides: list[str]) -> tuple[Batch, torch.Tensor]:
    """Return a batch of training studies, as the system reads them, and the images of test studies."""
    config = compose(["experiment=[table3,small]", "data.cache_features=none", "data.num_workers=0", *overrides])
    data = build(plain(config.data) | {"batch_size": batch}, "data")
    if rewrites(module.model.encoder_decoder):
        data.rewrite_reports(partial(to_targets, module.model.encoder_decoder, tokenizer=module.tokenizer))
    data.setup("fit")
    data.setup("test")
    images: list[torch.Tensor] = []
    for part in data.test_dataloader():
        images.append(part.images)
        if sum(map(len, images)) >= studies:
            break
    return next(iter(data.train_dataloader())), torch.cat(images)[:studies]


def measure(path: Path, batch: int, studies: int, rounds: int, overrides: list[str]) -> Row:
    """Time one system."""
    torch.manual_seed(0)
    module = CMNModule.load_from_checkpoint(path, map_location="cpu").eval()
    module.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    training, images = read(module, batch, studies, overrides)
    with torch.no_grad():
        training = training._replace(images=module.model.backbone.features(training.images))  # type: ignore[attr-defined]
        features = module.model.backbone.features(images)  # type: ignore[attr-defined]
    trained = [weight for name, weight in module.named_parameters() if weight.requires_grad and ".trunk." not in name]
    optimizer = torch.optim.Adam(trained, lr=1e-9, fused=True)  # the weights stay as they are

    def step() -> None:
        module.train()
        optimizer.zero_grad()
        module.objective(module, training).backward()
        optimizer.step()

    def write(images: torch.Tensor) -> Hypotheses:
        return module.eval().write(images)

    seconds = alternate({"step": step}, rounds * 5)
    seconds |= alternate({"features": lambda: write(features), "images": lambda: write(images)}, rounds)
    return {
        "system": type(module.model.encoder_decoder).__name__, "memory": type(module.model.memory).__name__,
        "training, studies/s": batch / seconds["step"], "generation, studies/s": studies / seconds["features"],
        "from images": studies / seconds["images"],
        "ids a report": write(features).tokens.ne(0).sum(1).float().mean().item(),
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--studies", type=int, default=48)
    parser.add_argument("--data", nargs="*", default=[], help="overrides of the data, such as data.num_studies=60")
    options = parser.parse_args()
    ready(options)
    given = (options.batch, options.studies, options.rounds, options.data)
    rows = [measure(path, *given) for path in options.checkpoints]
    show(rows, options.json, matmul_peak())


if __name__ == "__main__":
    main()

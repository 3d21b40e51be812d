"""Self-critical steps against cross-entropy steps, and the time of rewards: `python -m benchmarks.self_critical`.

A step is forward, backward and Adam at the paper's size, with `--samples` samples a study. The end is made all but
impossible, so that every sample has as many words as its limit. Rewards are those of `--reports` samples of as many
words as a report of MIMIC-CXR, five for each reference; references are counted anew in every round.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.generation import NEVER
from benchmarks.measure import Row, alternate, arguments, matmul_peak, megabytes, operations, ready, show
from benchmarks.scoring import reports
from benchmarks.training import ADAM
from r2cmn import CMNModule, compose
from r2cmn.config import plain
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.groups import MODEL
from r2cmn.metrics.cider import count_ngrams
from r2cmn.metrics.labeler import rule
from r2cmn.objectives.rewards import Rewards, training_frequencies
from r2cmn.types import Batch

SIZES = ["dim=512", "num_vectors=2048", "memory.num_queried=32", "memory.num_threads=8", "backbone.pretrained=false"]
NGRAMS = {"cider_d": 1.0, "bleu4": 1.0, "rouge_l": 1.0}


def prepare(
    side: str, model: str, trunk: str, batch: int = 16, samples: int = 5, length: int = 60, views: int = 1
) -> Callable[[], None]:
    """Return one step of a side: `cross entropy`, or a baseline of `SelfCritical`."""
    objective = ["objective=cross_entropy"]
    if side != "cross entropy":
        objective = ["objective=self_critical", f"objective.baseline={side}", f"objective.num_samples={samples}"]
    sizes = SIZES if model in ("cmn", "base_mem") else [size for size in SIZES if "memory" not in size]
    config = compose([*sizes, f"model={model}", f"backbone={trunk}", *objective])
    words = [f"w{number}" for number in range(759)]
    draw = random.Random(0)
    studies = [SimpleNamespace(report=" ".join(draw.choices(words, k=length))) for _ in range(200)]
    data = SimpleNamespace(
        tokenizer=Tokenizer(["<unk>", *words], max_length=length), studies={"train": studies},
        describe=lambda: {
            "tokenizer": data.tokenizer.to_dict(), "images": {"num_views": views, "size": 224},
            "license_class": "public",
        },
    )  # fmt: skip
    module = CMNModule.for_data(
        {name: plain(config[name]) for name in MODEL}, data, objective=plain(config.objective)
    ).train()
    module.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    with torch.no_grad():
        module.model.encoder_decoder.output.bias[0] = NEVER  # type: ignore[index,union-attr]
    images, tokens = torch.randn(batch, views, 3, 224, 224), torch.randint(1, 760, (batch, length))
    tokens[:, 0] = 0
    given = Batch(torch.arange(batch), images, tokens)
    optimizer = torch.optim.Adam(module.parameters(), **ADAM, fused=True)

    def run() -> None:
        optimizer.zero_grad()
        module.objective(module, given).backward()
        optimizer.step()

    return run


def steps(given: tuple[Any, ...], baselines: list[str], rounds: int, peak: float, with_memory: bool) -> list[Row]:
    """Time a cross-entropy step and self-critical steps in turn."""
    runs = {side: prepare(side, *given) for side in ("cross entropy", *baselines)}
    seconds, rows = alternate(runs, rounds), []
    counts = {side: operations(run) for side, run in runs.items()}
    runs.clear()
    for side in seconds:
        row: Row = {"model": given[0], "side": side, "s": seconds[side]}
        row |= {"of cross entropy": seconds[side] / seconds["cross entropy"]}
        row |= {"share of peak": counts[side] / seconds[side] / peak}
        if with_memory:
            row["peak MB"] = megabytes(prepare, side, *given)[0]
        rows.append(row)
    return rows


def rewards(count: int, rounds: int) -> list[Row]:
    """Time the rewards of `count` reports against `count` / 5 references."""
    generated, references = reports(0)[:count], [text for text in reports(1)[: count // 5] for _ in range(5)]
    tokenizer = Tokenizer.build(reports(2))
    frequencies = training_frequencies([SimpleNamespace(report=report) for report in reports(2)], tokenizer)
    rows = []
    for name, weights in {"cider_d + bleu4 + rouge_l": NGRAMS, "clinical": {"clinical": 1.0}}.items():
        score = Rewards(**weights, frequencies=frequencies)
        score(generated[:5], references[:5])  # reads the frequencies

        def run(score: Rewards = score) -> None:
            for cached in (count_ngrams, rule._labels, rule._read):
                cached.cache_clear()
            score(generated, references)

        seconds = alternate({name: run}, rounds)[name]
        rows.append({"rewards": name, "reports": count, "ms": 1000 * seconds})
    start = time.process_time()
    training_frequencies([SimpleNamespace(report=report) for report in reports(2)], tokenizer)
    rows.append(
        {"rewards": "document frequencies", "reports": len(reports(2)), "ms": 1e3 * (time.process_time() - start)}
    )
    return rows


def main() -> None:
    """Print the tables."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", choices=["rewards", "steps"])
    parser.add_argument("--models", nargs="+", default=["cmn"])
    parser.add_argument("--trunk", default="resnet101")
    parser.add_argument("--baselines", nargs="+", default=["leave_one_out"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--reports", type=int, default=80)
    parser.add_argument("--memory", action="store_true", help="also the peak memory, in processes of their own")
    options = parser.parse_args()
    ready(options)
    peak = matmul_peak()
    if options.only in (None, "rewards"):
        show(rewards(options.reports, options.rounds), options.json, peak)
    if options.only in (None, "steps"):
        rows = []
        for model in options.models:
            given = (model, options.trunk, options.batch, options.samples, options.length)
            rows += steps(given, options.baselines, options.rounds, peak, options.memory)
        show(rows, options.json, peak)


if __name__ == "__main__":
    main()

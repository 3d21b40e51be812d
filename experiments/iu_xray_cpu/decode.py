"""Score one checkpoint on validation under several ways to write a report, without training again.

    python experiments/iu_xray_cpu/decode.py PATH RUN/checkpoints/best-epoch014.ckpt

Prints a row for greedy and beam search, with and without a length penalty, and how sure the model is of the first
words. The test split is not read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from r2cmn.build import build
from r2cmn.data.iu_xray import IUXRayDataModule
from r2cmn.inference import load_module
from r2cmn.metrics.report import ReportMetrics

WAYS = {
    "greedy": {"_target_": "r2cmn.generation.Greedy"},
    "beam 3": {"_target_": "r2cmn.generation.BeamSearch", "num_beams": 3},
    "beam 3, average": {"_target_": "r2cmn.generation.BeamSearch", "num_beams": 3, "length_penalty": "average"},
    "sample, temperature 1": {"_target_": "r2cmn.generation.Sample", "seed": 0},
    "sample, temperature 0.5": {"_target_": "r2cmn.generation.Sample", "seed": 0, "temperature": 0.5},
    "beam 3, Wu 1.0": {"_target_": "r2cmn.generation.BeamSearch", "num_beams": 3, "length_penalty": 1.0},
}
COLUMNS = ("BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr", "CE_micro_F1", "CE_macro_F1", "mean_length")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", help="folder with annotation.json and images/")
    parser.add_argument("checkpoint", type=Path)
    args = parser.parse_args()
    module = load_module(args.checkpoint, "cpu").eval()
    size = module.transform.size
    images = {"resize": size, "size": size, "random_crop": False}
    data = IUXRayDataModule(dir=args.dir, images=images, cache_features=True, num_workers=0)
    data.setup()
    data.take_features_of(module.model.backbone)
    length = module.tokenizer.max_length
    ways = {name: build({"max_length": length, **way}, "generation") for name, way in WAYS.items()}
    metrics = {name: ReportMetrics(meteor=False) for name in ways}
    entropy = torch.zeros(4)
    with torch.inference_mode():
        for batch in data.val_dataloader():
            references = [module.tokenizer.decode(row) for row in batch.tokens[:, 1:].tolist()]
            for name, way in ways.items():
                module.generation = way
                written = [module.tokenizer.decode(row) for row in module.write(batch.images).tokens.tolist()]
                metrics[name].update(written, references, batch.index)
            log_p = module.model(batch.images, batch.tokens[:, :4])  # of the first words, those before them given
            entropy += -(log_p.exp() * log_p).sum(-1).sum(0)
    print(f"| validation | {' | '.join(COLUMNS)} | distinct |\n|{'---|' * (len(COLUMNS) + 2)}")
    for name, metric in metrics.items():
        scores = metric.compute()
        distinct = f"{round(scores['distinct'] * len(data.studies['val']))} of {len(data.studies['val'])}"
        print(f"| {name} | {' | '.join(f'{scores[column]:.3f}' for column in COLUMNS)} | {distinct} |")
    bits = ", ".join(f"{value / len(data.studies['val']):.2f}" for value in entropy.tolist())
    print(f"\nmean entropy of words 1 to 4, in nats: {bits}")


if __name__ == "__main__":
    main()

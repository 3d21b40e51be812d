"""Do the maps of a checkpoint matter? The deletion test over validation studies.

    python experiments/iu_xray_cpu/maps.py PATH RUN/checkpoints/last.ckpt --studies 60

For the words of the model's own reports that name findings: how often replacing the patches of a map, the largest
values first, lowers the word's probability faster than each of 20 random orders does. Maps without meaning pass for one
word of 21. Further, how far the attention is from even, and how alike the attention is in two studies. The test split
is not read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from r2cmn.data.iu_xray import IUXRayDataModule
from r2cmn.explain import explain_batch
from r2cmn.inference import load_module

ROUTES = ("attention", "memory", "occlusion")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", help="folder with annotation.json and images/")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--studies", type=int, default=60, help="the first ones of validation")
    args = parser.parse_args()
    module = load_module(args.checkpoint, "cpu").eval()
    size = module.transform.size
    images = {"resize": size, "size": size, "random_crop": False}
    data = IUXRayDataModule(dir=args.dir, images=images, cache_features=True, num_workers=0)
    data.setup()
    data.take_features_of(module.model.backbone)
    tests: dict[str, list[dict]] = {route: [] for route in ROUTES}
    entropies, first = [], []
    left = args.studies
    for batch in data.val_dataloader():
        for found in explain_batch(module, batch.images[:left], deletion=True):
            for route, each in (found.deletion or {}).items():
                tests[route] += [test for test in each if test]
            maps = np.stack([found.values(word, "attention") for word in range(len(found.words))])
            share = maps / maps.sum(1, keepdims=True)
            entropies.append(-(share * np.log(share + 1e-12)).sum(1).mean() / np.log(share.shape[1]))
            first.append(share.mean(0))
        left -= len(batch.images)
        if left <= 0:
            break
    print("| route | words | better than 20 random orders (chance .048) | area less random |\n|---|---|---|---|")
    for route, words in tests.items():
        if words:
            better = np.mean([test["beats_random"] for test in words])
            less = np.mean([test["area"] - test["random_area"] for test in words])
            print(f"| {route} | {len(words)} | {better:.3f} | {less:+.4f} |")
    alike = np.corrcoef(np.stack(first))[np.triu_indices(len(first), 1)].mean()
    print(f"\nentropy of the attention of a word, 1 if even: {np.mean(entropies):.3f}")
    print(f"correlation of the attention of two studies, mean over their words: {alike:.3f}")


if __name__ == "__main__":
    main()

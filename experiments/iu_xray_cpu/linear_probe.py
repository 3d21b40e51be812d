"""Compare trunks by a linear probe: how well do their frozen features tell the observations of the reports?

    python experiments/iu_xray_cpu/linear_probe.py PATH tf_efficientnet_lite0 tf_efficientnet_lite0.pth --size 224

One logistic regression per observation, on the features of each view averaged over its patches, fitted on the training
split and scored on validation. The labels are those of the built-in labeler. A fifth of the training split chooses the
regularization. The features are those that `data.cache_features=true` keeps, in the same files of $R2CMN_CACHE, so a
training on the same trunk and size finds them (but for `--bf16`). The test split is not read.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from r2cmn.backbone import Backbone
from r2cmn.data.iu_xray import IUXRayDataModule
from r2cmn.metrics.efficacy import efficacy
from r2cmn.metrics.labeler import RuleLabeler

STRENGTHS = (0.0003, 0.003, 0.03)  # C of scikit-learn's LogisticRegression
MIN_POSITIVE = 5  # fewer in validation say nothing of an AUROC


def read(data: IUXRayDataModule, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the features (n, views * F) of a split and whether each of 14 observations is positive (n, 14)."""
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    features, reports = [], []
    for batch in loader:
        views = batch.images.float().unflatten(1, (data.num_views, -1))  # (B, I, P, F)
        features.append(views.mean(2).flatten(1))
        reports += [data.studies[split][index].report for index in batch.index.tolist()]
    return torch.cat(features).numpy(), RuleLabeler()(reports) == 1


def fit(features: np.ndarray, labels: np.ndarray, strength: float, queries: np.ndarray) -> np.ndarray:
    """Return the probability of each observation (m, 14) for queries (m, F); its share if only one value was seen."""
    columns = []
    for label in labels.T:
        if label.min() == label.max():
            columns.append(np.full(len(queries), float(label[0])))
            continue
        columns.append(LogisticRegression(C=strength, max_iter=500).fit(features, label).predict_proba(queries)[:, 1])
    return np.stack(columns, 1)


def choose(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the strength with the lowest log loss on the last fifth."""
    cut = len(features) * 4 // 5

    def loss(strength: float) -> float:
        found = fit(features[:cut], labels[:cut], strength, features[cut:])
        return sum(log_loss(y, p, labels=[False, True]) for y, p in zip(labels[cut:].T, found.T, strict=True))

    return min(STRENGTHS, key=loss)


def report(name: str, found: np.ndarray, labels: np.ndarray) -> None:
    """Print micro and macro F1 at one half, as the label F1 of reports is computed, and the mean AUROC."""
    scores = efficacy((found > 0.5).astype(int), labels.astype(int))
    common = [i for i, label in enumerate(labels.T) if MIN_POSITIVE <= label.sum() <= len(label) - MIN_POSITIVE]
    auroc = np.mean([roc_auc_score(labels[:, i], found[:, i]) for i in common])
    print(f"| {name} | {scores['CE_micro_F1']:.3f} | {scores['CE_macro_F1']:.3f} | {auroc:.3f} ({len(common)}) |")


def main() -> None:
    """Print a row of the table, and that of the shares alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", help="folder with annotation.json and images/")
    parser.add_argument("name", help="a trunk of timm")
    parser.add_argument("weights", nargs="?", help="its .pth file; random weights without it")
    parser.add_argument("--size", type=int, default=224, help="pixels; images are resized to a square")
    parser.add_argument(
        "--bf16", action="store_true", help="compute features in bfloat16: half the time with AVX512_BF16"
    )
    args = parser.parse_args()
    images = {"resize": args.size, "size": args.size, "random_crop": False}
    data = IUXRayDataModule(dir=args.dir, images=images, cache_features=True, num_workers=0)
    data.setup()
    torch.manual_seed(0)
    backbone = Backbone(args.name, pretrained=args.weights or False, frozen=True).eval()
    data.take_features_of(backbone.bfloat16() if args.bf16 else backbone)
    (features, labels), (queries, truth) = read(data, "train"), read(data, "val")
    scaler = StandardScaler().fit(features)
    features, queries = scaler.transform(features), scaler.transform(queries)
    strength = choose(features, labels)
    print("| features | micro F1 | macro F1 | AUROC (observations) |\n|---|---|---|---|")
    report("none: the share in train", np.broadcast_to(labels.mean(0), truth.shape), truth)
    report(f"{args.name}, {args.size} pixels, C {strength:g}", fit(features, labels, strength, queries), truth)


if __name__ == "__main__":
    main()

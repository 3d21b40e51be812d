"""What the patches of a frozen trunk know of the place of a finding: a linear probe, scored as maps are.

    python experiments/grounding/probe.py RUN > probe.md

For each kind of finding and view a logistic regression predicts from the features of a patch whether it is in the box,
once from the features and once from features and position; it is trained on the training studies with the finding.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from r2cmn.commands.data_arguments import read_data, use_model_of
from r2cmn.explain.ground_scores import Array, GroundingScores, patches_in, score_maps
from r2cmn.explain.ground_targets import Controls, Target, collect_targets
from r2cmn.inference import load_module
from r2cmn.metrics.significance import Significance

NAMES = ("pointing", "cnr", "auprc")


def main() -> None:
    """Print a row for each source of the map."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    checkpoint = next((run / "checkpoints").glob("best*.ckpt"))
    module: Any = load_module(checkpoint, "cpu")
    data = read_data([], checkpoint, "data=phantom")
    use_model_of(data, module)
    targets = {split: collect_targets(data.groundings(split), module.num_views) for split in ("train", "test")}
    features = {split: read_features(module, data, split) for split in targets}
    num_patches = features["test"].shape[2]
    grid = (int(num_patches**0.5),) * 2
    controls = Controls(targets["train"], grid)
    maps = {
        "features": probe(features, targets, grid, with_place=False),
        "features and position": probe(features, targets, grid, with_place=True),
        "mean_box": None,
    }
    print("| map | pointing game | contrast to noise | AUPRC |\n|---|---:|---:|---:|")
    for name, found in maps.items():
        if found is None:
            rows = [controls.scores(target, number)[name] for number, target in enumerate(targets["test"])]
        else:
            rows = [score_maps(m[None], t.boxes, grid) for m, t in zip(found, targets["test"], strict=True)]
        print(line(name, np.stack(rows), targets["test"], len(data.studies["test"])))


def read_features(module: Any, data: Any, split: str) -> Array:
    """Return the features of the trunk, (studies, views, patches, F)."""
    found = []
    for start in range(0, len(data.studies[split]), 32):
        studies = data.studies[split][start : start + 32]
        images = module.read([list(study.images[: module.num_views]) for study in studies])
        with torch.no_grad():
            found.append(module.model.backbone.features(images).unflatten(1, (module.num_views, -1)))
    return torch.cat(found).double().numpy()


def probe(
    features: dict[str, Array], targets: dict[str, list[Target]], grid: tuple[int, int], with_place: bool
) -> list[Array]:
    """Return the predicted map of each test target."""
    place = np.eye(grid[0] * grid[1])

    def inputs(split: str, target: Target) -> Array:
        own = features[split][target.study, target.view]
        return np.concatenate([own, place], 1) if with_place else own

    models: dict[tuple[str, int], Any] = {}
    for key in {(target.finding, target.view) for target in targets["test"]}:
        same = [target for target in targets["train"] if (target.finding, target.view) == key]
        x = np.concatenate([inputs("train", target) for target in same])
        y = np.concatenate([patches_in(target.boxes, grid) for target in same])
        models[key] = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300)).fit(x, y)
    return [models[t.finding, t.view].predict_log_proba(inputs("test", t))[:, 1] for t in targets["test"]]


def line(name: str, rows: Array, targets: list[Target], num_studies: int) -> str:
    """Return a row of the table."""
    values = dict(zip(NAMES, rows.T[:3], strict=True))
    kinds, studies = [target.finding for target in targets], [target.study for target in targets]
    found = Significance().interval(GroundingScores(values, kinds, studies, num_studies))
    cells = [f"{found[each].value:.3f} [{found[each].low:.3f}, {found[each].high:.3f}]" for each in NAMES]
    return f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()

"""Grounding of models over seeds: a table in Markdown, with intervals over seeds and studies.

    python experiments/grounding/compare.py SWEEP [--occlusion] > table.md

SWEEP holds a run folder for each model and seed. All must have the same data.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

from r2cmn.commands.data_arguments import read_data, use_model_of
from r2cmn.explain.ground import ground
from r2cmn.explain.ground_result import NAMES, Grounding
from r2cmn.explain.ground_scores import MEASURES, GroundingScores
from r2cmn.files.yaml import read_yaml
from r2cmn.groups import read_choices
from r2cmn.inference import load_module
from r2cmn.metrics.significance import Significance

SIGNIFICANCE = Significance(2000)


def main() -> None:
    """Score the runs and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", help="only these")
    parser.add_argument("--occlusion", action="store_true")
    parser.add_argument("--reports", default="reference")
    arguments = parser.parse_args()
    routes = ("occlusion",) if arguments.occlusion else ("attention", "memory")
    scored: dict[str, dict[int, Grounding]] = {}
    for folder in sorted(arguments.sweep.iterdir()):
        if (folder / "result.json").is_file():
            seed = read_yaml(folder / "config.yaml")["seed"]
            if not arguments.seeds or seed in arguments.seeds:
                scored.setdefault(read_choices(folder)["model"], {})[seed] = score(folder, routes, arguments.reports)
    print("\n".join(table(scored)))


def score(run: Path, routes: tuple[str, ...], reports: str) -> Grounding:
    """Return the grounding of the best checkpoint of a run on the data of the run."""
    checkpoint = next((run / "checkpoints").glob("best*.ckpt"))
    module: Any = load_module(checkpoint, "cpu")
    data = read_data([], checkpoint, "data=phantom")
    use_model_of(data, module)
    found = ground(module, data, "test", reports, routes, Significance(1))
    print(f"{run}: {found.routes}, {sum(found.findings.values())} findings, {found.skipped} skipped", file=sys.stderr)
    return found


def table(scored: dict[str, dict[int, Grounding]]) -> list[str]:
    """Return the lines of the table: models beside two controls of their own, other controls, and differences."""
    lines = ["| map | " + " | ".join(NAMES[measure] for measure in MEASURES) + " |", "|---" + "|---:" * 4 + "|"]
    first = next(iter(next(iter(scored.values())).values()))
    for model, by_seed in scored.items():
        for route in next(iter(by_seed.values())).routes:
            of_seeds = [found.statistics[route] for found in by_seed.values()]
            lines.append(line(f"{model}, {route}", "model", of_seeds))
            for control in ("other_study", "random"):
                lines.append(line(f"{model}, {route} - {control}", f"model - {control}", of_seeds))
    for control in ("random", "center", "mean_box"):
        lines.append(line(f"control: {control}", control, [first.statistics[first.routes[0]]]))
    for theirs, ours in itertools.combinations(scored, 2):
        seeds = sorted(scored[ours].keys() & scored[theirs].keys())
        pairs = [(scored[ours][seed], scored[theirs][seed]) for seed in seeds]
        for route in [route for route in pairs[0][0].routes if route in pairs[0][1].routes]:
            less = [one.statistics[route].less(other.statistics[route]) for one, other in pairs]
            lines.append(line(f"{ours} - {theirs}, {route}", "model", less))
    return lines


def line(name: str, source: str, of_seeds: list[GroundingScores]) -> str:
    """Return a row: means over seeds with intervals over seeds and studies."""
    found = SIGNIFICANCE.over_seeds(of_seeds)
    cells = [found[f"{source}/{measure}"] for measure in MEASURES]
    return f"| {name} | " + " | ".join(f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells) + " |"


if __name__ == "__main__":
    main()

"""What the paper states of its ablations, to stand beside ours: only numbers that are printed in it.

Figures 3 and 4 of the paper are pictures without numbers. What is known of their curves is what its text says and the
point of its default setting, which is that of Table 2; nothing was measured off the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

from r2cmn.evaluation.published import Published, published
from r2cmn.sweeps.results.comparison import PAPER
from r2cmn.sweeps.results.settings import Family, Setting, shown
from r2cmn.sweeps.results.trial import Trial

DATASETS = {"IUXRayDataModule": "iu_xray", "MIMICCXRDataModule": "mimic_cxr"}
"""The data sets of the paper by the class that reads them."""
TITLES = {"iu_xray": "IU X-Ray", "mimic_cxr": "MIMIC-CXR"}
ROWS = {"none": "BASE", "separate": "BASE+MEM", "cross_modal": "BASE+CMN"}
"""The paper's rows of Table 2 by the kind of memory."""
TABLE_2 = "Chen et al., ACL 2021, Table 2"
STATED = {
    "memory.num_vectors": "On MIMIC-CXR the paper finds (section 4.3, Figure 3, N from 32 to 4096) BLEU-4 to rise with "
    "N up to 1024 and not beyond, and 3.34% more parameters than BASE at N = 4096.",
    "memory.num_queried": "On MIMIC-CXR the paper finds (section 4.3, Figure 4, K from 1 to 512) BLEU-4 to rise with K "
    "up to 32 and to drop beyond.",
    "memory.num_threads": "The paper uses 8 threads and says that their number is arbitrary (footnote 5); it has no "
    "figure of it.",
}
"""What its text says of each ablation."""


@dataclass(frozen=True)
class Claim:
    """One published number.

    Attributes:
        value: of the score.
        where: the value of the ablated key that it belongs to.
        text: what it is, with its source.
    """

    value: float
    where: float
    text: str


def dataset_of(trial: Trial) -> str:
    """Return the paper's name of a trial's data set; "" for one that it does not use."""
    target = str((trial.config.get("data") or {}).get("_target_", ""))
    return DATASETS.get(target.rpartition(".")[2], "")


def table_2(family: Family) -> dict[str, Published]:
    """Return the rows of Table 2 by the kind of memory, of the family's data set; {} for one that the paper lacks."""
    names = {dataset_of(trial) for trial in family.trials}
    if len(names) != 1 or "" in names:
        return {}
    rows = {row.system: row for row in published(names.pop()) if row.source == TABLE_2}
    return {kind: rows[name] for kind, name in ROWS.items() if name in rows}


def claim(family: Family, key: str, metric: str) -> Claim | None:
    """Return the published score at the paper's default setting, where data set and score are the same."""
    row = table_2(family).get("cross_modal")
    if row is None or metric not in row.scores or key not in PAPER:
        return None
    title = TITLES[dataset_of(family.trials[0])]
    return Claim(
        row.scores[metric], PAPER[key], f"{TABLE_2}, {title}, N 2048, K 32, 8 threads: {row.scores[metric]:.3f}"
    )


def kind_of(setting: Setting) -> str:
    """Return the kind of memory of a setting's trials, as `conf/memory` calls it."""
    return shown((setting.trials[0].config.get("memory") or {}).get("_target_", ""))

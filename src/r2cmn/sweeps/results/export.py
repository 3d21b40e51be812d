"""All runs as tables for pandas, R or a spreadsheet: a row a run, and every logged value in long form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2cmn.files import load_optional, whole_file, write_whole
from r2cmn.runs.folder import override_key
from r2cmn.sweeps.results.trial import Trial

if TYPE_CHECKING:
    from pandas import DataFrame, Series

_COLUMNS = (
    "sweep", "trial", "status", "override:", "memory", "num_vectors", "num_queried", "num_threads", "dim", "seed",
    "data", "objective", "val_loss", "epochs", "seconds", "score:", "parameters:", "train_studies_per_second",
    "test_studies_per_second", "fingerprint", "part:", "version", "commit", "started", "reason", "directory",
)  # fmt: skip
"""The columns in their order; a name with a colon stands for all columns that begin with it."""


def runs(trials: Sequence[Trial]) -> DataFrame:
    """Return a row a trial; what is not known is None.

    Columns: sweep, trial, status, `override:KEY` for every override of any trial, memory, num_vectors, num_queried,
    num_threads, dim, seed, data, objective, val_loss, epochs, seconds, `score:NAME` of the test, `parameters:NAME`,
    speeds in studies per second, fingerprint and its parts, version, commit, started, reason, directory.
    """
    rows = [_row(trial) for trial in trials]
    names = dict.fromkeys(name for row in rows for name in row)
    order = sorted(names, key=lambda name: _COLUMNS.index(name.partition(":")[0] + ":" * (":" in name)))
    return _frame(rows, order)


def curves(trials: Sequence[Trial]) -> DataFrame:
    """Return every logged value of every trial: sweep, trial, seed, epoch, step, metric, value."""
    rows = []
    for trial in trials:
        known: dict[str, Any] = {"sweep": trial.sweep, "trial": trial.directory.name, "seed": trial.seed}
        for line in trial.metrics:
            known |= {name: line.get(name) for name in ("epoch", "step")}
            rows += [{**known, "metric": name, "value": value} for name, value in line.items() if name not in known]
    return _frame(rows, ["sweep", "trial", "seed", "epoch", "step", "metric", "value"])


def write_csv(path: Path, frame: DataFrame) -> None:
    """Write a frame as CSV, whole or not at all."""
    write_whole(path, frame.to_csv(index=False, lineterminator="\n"))


def write_parquet(path: Path, frame: DataFrame) -> None:
    """Write a frame as Parquet, whole or not at all; a column of numbers and texts becomes one of texts.

    Raises:
        ValueError: without pyarrow.
    """
    load_optional("pyarrow", "--parquet", "results")
    with whole_file(path) as file:
        frame.apply(_one_type).to_parquet(file, index=False)


def check_targets(paths: Sequence[Path | None], overwrite: bool) -> None:
    """Check that files can be written.

    Raises:
        ValueError: naming the path, if it is a folder, or a file that `overwrite` does not allow to replace.
    """
    for path in filter(None, paths):
        if path.is_dir():
            raise ValueError(f"{path} is a folder: name a file")
        if path.exists() and not overwrite:
            raise ValueError(f"{path} exists already: choose another name, or give --overwrite")


def _frame(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> DataFrame:
    """Return rows as a frame of Python objects: integers stay integers in a column that has gaps."""
    import pandas as pd

    return pd.DataFrame([[row.get(name) for name in columns] for row in rows], columns=list(columns), dtype=object)


def _one_type(column: Series) -> Series:
    """Return a column of one type: floats if it has integers, too, else texts."""
    kinds = {type(value) for value in column if value is not None}
    if len(kinds) < 2:
        return column
    return column.map(float if kinds <= {int, float} else str, na_action="ignore").astype(object)


def _row(trial: Trial) -> dict[str, Any]:
    memory = trial.config.get("memory") or {}
    row: dict[str, Any] = {"sweep": trial.sweep, "trial": trial.directory.name, "status": trial.status}
    row |= {f"override:{override_key(each)}": each.partition("=")[2] for each in trial.overrides}
    row |= {"memory": trial.choices.get("memory"), "data": trial.choices.get("data")}
    row |= {name: memory.get(name) for name in ("num_vectors", "num_queried", "num_threads")}
    row |= {"dim": trial.config.get("dim"), "seed": trial.seed}
    row |= {name: trial.value.get(name) for name in ("objective", "val_loss", "epochs", "seconds")}
    row |= {f"score:{name}": value for name, value in trial.scores.items()}
    row |= {f"parameters:{name}": int(value) for name, value in trial.parameters.items()}
    row |= {name: trial.speed.get(name) for name in ("train_studies_per_second", "test_studies_per_second")}
    row |= {"fingerprint": trial.result.get("fingerprint") or trial.start.get("fingerprint")}
    row |= {f"part:{name}": trial.parts.get(name) for name in ("config", "data", "code")}
    row |= {name: trial.start.get(name) for name in ("version", "commit", "started")}
    return row | {"reason": trial.reason or None, "directory": str(trial.directory)}
